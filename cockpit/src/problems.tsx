// SPDX-License-Identifier: LGPL-2.1-or-later
/** Why a service cannot be shown, and what to do. */
import {
    Alert,
    AlertActionCloseButton,
    AlertActionLink,
    Button,
    Content,
    EmptyState,
    EmptyStateActions,
    EmptyStateBody,
    EmptyStateFooter,
    List,
    ListItem,
} from "@patternfly/react-core";
import { ExclamationCircleIcon } from "@patternfly/react-icons";
import { useState, type ReactNode } from "react";

import { useAdministrativeAccess } from "./administrative-access.ts";
import { explanationOf, isExpected, type Explanation } from "./problem-texts.ts";
import type { Problem } from "./service/failures.ts";
import type { Service } from "./service/service.ts";
import { useAllServices, useReadyServices, useServiceState } from "./services.tsx";
import { _, fill } from "./translation.ts";

/** In place of the page, if no service works: what is wrong with them. */
export function NoService() {
    const [system, session] = useAllServices();
    if (system === undefined || session === undefined) throw new Error("there is no ServicesProvider");
    const failures = [
        { service: system, problem: useServiceState(system).problem },
        { service: session, problem: useServiceState(session).problem },
    ].filter((one): one is FailedService => one.problem !== undefined);
    const unexpected = failures.filter(({ problem }) => !isExpected(problem));
    const shown = unexpected.length > 0 ? unexpected : failures.slice(0, 1);
    return shown.map(({ service, problem }, index) => {
        const explanation = explanationOf(problem, service.where);
        return (
            <EmptyState
                key={service.where}
                icon={ExclamationCircleIcon}
                headingLevel="h2"
                titleText={shown.length > 1 ? withPlace(explanation.title, service) : explanation.title}
            >
                <EmptyStateBody>
                    <What explanation={explanation} />
                </EmptyStateBody>
                {index === shown.length - 1 && (
                    <EmptyStateFooter>
                        <EmptyStateActions>
                            <Button
                                onClick={() => {
                                    for (const { service: failed } of failures) void failed.start();
                                }}
                            >
                                {_("Connect again")}
                            </Button>
                        </EmptyStateActions>
                    </EmptyStateFooter>
                )}
            </EmptyState>
        );
    });
}

interface FailedService {
    readonly service: Service;
    readonly problem: Problem;
}

/** Above the page, if a service works: what is wrong with the other one, or since the first load. */
export function ProblemNotices() {
    const services = useAllServices();
    return (
        <>
            {services.map((service) => (
                <ProblemNotice key={service.where} service={service} />
            ))}
            <LimitedAccess />
        </>
    );
}

function ProblemNotice({ service }: { readonly service: Service }) {
    const { problem, status } = useServiceState(service);
    const [closed, setClosed] = useState<Problem | undefined>();
    if (problem === undefined || problem === closed || (status === "failed" && isExpected(problem))) return null;
    const explanation = explanationOf(problem, service.where);
    return (
        <Notice
            variant="warning"
            title={withPlace(explanation.title, service)}
            onClose={() => {
                setClosed(problem);
            }}
            actionLinks={
                <AlertActionLink
                    onClick={() => {
                        void service.start();
                    }}
                >
                    {_("Connect again")}
                </AlertActionLink>
            }
        >
            <What explanation={explanation} />
        </Notice>
    );
}

/** Without administrative access, the system's service is asked as the user: it shows more than it lets change. */
function LimitedAccess() {
    const isLimited = useAdministrativeAccess() === false;
    const isSystemReady = useReadyServices().some(({ service }) => service.where === "system");
    const [isClosed, setClosed] = useState(false);
    if (!isLimited || !isSystemReady || isClosed) return null;
    return (
        <Notice
            variant="info"
            title={_("Limited access")}
            onClose={() => {
                setClosed(true);
            }}
        >
            {_("Changes of the system's images and machines may need administrative access. Turn it on at the top of the page.")}
        </Notice>
    );
}

interface NoticeProps {
    readonly variant: "warning" | "info";
    readonly title: string;
    readonly onClose: () => void;
    readonly actionLinks?: ReactNode;
    readonly children: ReactNode;
}

function Notice({ variant, title, onClose, actionLinks, children }: NoticeProps) {
    return (
        <Alert
            className="notice"
            variant={variant}
            variantLabel={variant === "warning" ? _("Warning:") : _("Information:")}
            isInline
            component="h2"
            title={title}
            actionClose={<AlertActionCloseButton aria-label={fill(_("Close \"$0\""), title)} onClose={onClose} />}
            actionLinks={actionLinks}
        >
            {children}
        </Alert>
    );
}

function What({ explanation: { why, remedy, commands } }: { readonly explanation: Explanation }) {
    return (
        <>
            {why !== "" && <Content component="p">{why}</Content>}
            <Content component="p">{remedy}</Content>
            {commands.length > 0 && (
                <List isPlain>
                    {commands.map((command) => (
                        <ListItem key={command}>
                            <code>{command}</code>
                        </ListItem>
                    ))}
                </List>
            )}
        </>
    );
}

function withPlace(title: string, service: Service): string {
    return fill(service.where === "system" ? _("System: $0") : _("Your session: $0"), title);
}
