// SPDX-License-Identifier: LGPL-2.1-or-later
/** Why a service cannot be shown, and what to do. */
import { Alert, AlertActionLink } from "@patternfly/react-core";

import type { Problem } from "./service/failures.ts";
import type { Service } from "./service/service.ts";
import { useAllServices, useReadyServices, useServiceState } from "./services.tsx";
import { _ } from "./translation.ts";

export function ProblemNotices() {
    return useAllServices().map((service) => <ProblemNotice key={service.where} service={service} />);
}

function ProblemNotice({ service }: { readonly service: Service }) {
    const { problem } = useServiceState(service);
    const anotherWorks = useReadyServices().length > 0;
    if (problem === undefined || (anotherWorks && isExpected(problem))) return null;
    return (
        <Alert
            variant="warning"
            isInline
            title={problem.message}
            actionLinks={
                <AlertActionLink
                    onClick={() => {
                        void service.start();
                    }}
                >
                    {_("Try again")}
                </AlertActionLink>
            }
        />
    );
}

/** Whether users with one working service need not know: the other one is just not there. */
function isExpected(problem: Problem): boolean {
    return problem.kind === "no-bus" || problem.kind === "not-installed";
}
