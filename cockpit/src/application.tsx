// SPDX-License-Identifier: LGPL-2.1-or-later
/** The page: its heading, what is wrong with a service, the running pulls, and the tabs. */
import {
    Button,
    Content,
    EmptyState,
    Flex,
    FlexItem,
    Page,
    PageSection,
    Spinner,
    Tab,
    Tabs,
    TabTitleText,
} from "@patternfly/react-core";
import { memo, useEffect, useState } from "react";

import { DialogsProvider, useDialogs } from "./dialogs.tsx";
import { ImagesTab } from "./images/images-tab.tsx";
import { PruneDialog } from "./images/prune-dialog.tsx";
import { ConfiguredImages } from "./jobs/configured-images.tsx";
import { JobList } from "./jobs/job-list.tsx";
import { JobsTitle } from "./jobs/jobs-title.tsx";
import { LayersTab } from "./layers/layers-tab.tsx";
import { MachinesTab } from "./machines/machines-tab.tsx";
import { NoticesProvider } from "./notices.tsx";
import { Part } from "./part.tsx";
import { NoService, ProblemNotices } from "./problems.tsx";
import { PullDialog } from "./pull/pull-dialog.tsx";
import { PullList } from "./pull/pull-list.tsx";
import { ServicesProvider, useAllServices, useReadyServices, useServiceState } from "./services.tsx";
import { _ } from "./translation.ts";

export function Application() {
    return (
        <Part>
            <ServicesProvider>
                <NoticesProvider>
                    <DialogsProvider>
                        <Frame />
                    </DialogsProvider>
                </NoticesProvider>
            </ServicesProvider>
        </Part>
    );
}

function Frame() {
    const ready = useReadyServices();
    const dialogs = useDialogs();
    const [system, session] = useAllServices();
    if (system === undefined || session === undefined) throw new Error("there is no ServicesProvider");
    const statuses = [useServiceState(system).status, useServiceState(session).status];
    return (
        <Page isContentFilled className="pf-m-no-sidebar">
            <PageSection>
                <Flex>
                    <FlexItem grow={{ default: "grow" }}>
                        <Content component="h1" tabIndex={-1}>
                            {_("Container images")}
                        </Content>
                    </FlexItem>
                    {ready.length > 0 && (
                        <FlexItem>
                            <Button
                                variant="secondary"
                                onClick={() => {
                                    dialogs.show(<PruneDialog />);
                                }}
                            >
                                {_("Prune")}
                            </Button>{" "}
                            <Button
                                onClick={() => {
                                    dialogs.show(<PullDialog />);
                                }}
                            >
                                {_("Pull image")}
                            </Button>
                        </FlexItem>
                    )}
                </Flex>
            </PageSection>
            <PageSection isFilled>
                {ready.length === 0 && (statuses.includes("connecting") ? <Connecting /> : <NoService />)}
                {ready.length > 0 && (
                    <>
                        <Part>
                            <ProblemNotices />
                        </Part>
                        <Part>
                            <PullList />
                        </Part>
                        <AllTabs />
                    </>
                )}
            </PageSection>
        </Page>
    );
}

function Connecting() {
    return <EmptyState icon={Spinner} headingLevel="h2" titleText={_("Connecting to virtlayerd")} />;
}

const TABS = ["images", "layers", "machines", "configured", "jobs"];

/** The tab of the page's address in Cockpit, such as #/layers; another address can be a mistake. */
function tabOfLocation(): string {
    const [first = ""] = cockpit.location.path;
    return TABS.includes(first) ? first : "images";
}

function useTab(): [string, (tab: string) => void] {
    const [tab, setTab] = useState(tabOfLocation);
    useEffect(() => {
        const follow = () => {
            setTab(tabOfLocation());
        };
        cockpit.addEventListener("locationchanged", follow);
        return () => {
            cockpit.removeEventListener("locationchanged", follow);
        };
    }, []);
    return [
        tab,
        (next) => {
            cockpit.location.go([next]);
        },
    ];
}

/** Drawn again when a tab is chosen, not when a service changes: measuring the tabs is slow. */
const AllTabs = memo(function AllTabs() {
    const [tab, setTab] = useTab();
    return (
        <Tabs
            activeKey={tab}
            onSelect={(_event, key) => {
                setTab(String(key));
            }}
            mountOnEnter
            unmountOnExit
            aria-label={_("What is shown")}
        >
            <Tab eventKey="images" title={<TabTitleText>{_("Images")}</TabTitleText>}>
                <Part>
                    <ImagesTab />
                </Part>
            </Tab>
            <Tab eventKey="layers" title={<TabTitleText>{_("Layers")}</TabTitleText>}>
                <Part>
                    <LayersTab />
                </Part>
            </Tab>
            <Tab eventKey="machines" title={<TabTitleText>{_("Machines")}</TabTitleText>}>
                <Part>
                    <MachinesTab />
                </Part>
            </Tab>
            <Tab eventKey="configured" title={<TabTitleText>{_("Configured")}</TabTitleText>}>
                <Part>
                    <ConfiguredImages />
                </Part>
            </Tab>
            <Tab eventKey="jobs" title={<JobsTitle />}>
                <Part>
                    <JobList />
                </Part>
            </Tab>
        </Tabs>
    );
});
