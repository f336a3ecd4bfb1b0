// SPDX-License-Identifier: LGPL-2.1-or-later
/** What the job does that makes a machine: it downloads nothing, so it has no percentage. */
import { Content, Flex, FlexItem, Spinner } from "@patternfly/react-core";

import type { Service } from "../../service/service.ts";
import { useServiceState } from "../../services.tsx";
import { _ } from "../../translation.ts";
import { stageText } from "../texts.ts";

interface Props {
    readonly service: Service;
    /** undefined until the service has accepted it. */
    readonly job: string | undefined;
}

export function RunProgress({ service, job }: Props) {
    const found = useServiceState(service).jobs.find(({ path }) => path === job);
    return (
        <>
            <Flex spaceItems={{ default: "spaceItemsSm" }}>
                <Spinner size="md" aria-label={_("Progress")} />
                <FlexItem aria-live="polite">{stageText(found?.stage ?? "")}</FlexItem>
            </Flex>
            <Content component="p">{_("You can close this dialog: the machine is created all the same.")}</Content>
        </>
    );
}
