// SPDX-License-Identifier: LGPL-2.1-or-later
import { useReadyServices } from "../services.tsx";

export function PullList() {
    return useReadyServices().map(({ service, state }) => (
        <p key={service.where}>{state.jobs.map((job) => job.stage).join(" ")}</p>
    ));
}
