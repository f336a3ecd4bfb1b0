// SPDX-License-Identifier: LGPL-2.1-or-later
/** The tab "Machines": those that virtlayer made, of both services. */
import "./machines.css";

import {
    Button,
    EmptyState,
    EmptyStateActions,
    EmptyStateBody,
    EmptyStateFooter,
    SearchInput,
    Toolbar,
    ToolbarContent,
    ToolbarItem,
} from "@patternfly/react-core";
import { CubesIcon, SearchIcon } from "@patternfly/react-icons";
import { Table, Th, Thead, Tr } from "@patternfly/react-table";
import { useCallback, useState } from "react";

import { useReadyServices } from "../services.tsx";
import { _ } from "../translation.ts";
import { keepMachine, useMachineOfLocation, type Shown, type View } from "./location.ts";
import { keyOf, useMachines, type Known } from "./look.ts";
import { MachineRow } from "./machine-row.tsx";
import { matches } from "./search.ts";

export function MachinesTab() {
    const machines = useMachines();
    const [search, setSearch] = useState("");
    const hasOwner = useReadyServices().length > 1;
    const [views, setViews] = useState<ReadonlyMap<string, View>>(new Map());
    const show = useCallback(({ where, name, view }: Shown) => {
        setViews((before) => new Map(before).set(viewKey(where, name), view));
    }, []);
    useMachineOfLocation(show);

    if (machines.length === 0) return <NoMachines />;
    const found = machines.filter(({ machine, details }) => matches(search, machine, details));
    return (
        <>
            <Toolbar>
                <ToolbarContent>
                    <ToolbarItem>
                        <SearchInput
                            aria-label={_("Search machines")}
                            placeholder={_("Name, image or pool")}
                            value={search}
                            onChange={(_event, value) => {
                                setSearch(value);
                            }}
                            onClear={() => {
                                setSearch("");
                            }}
                        />
                    </ToolbarItem>
                </ToolbarContent>
            </Toolbar>
            {found.length === 0 && <EmptyState titleText={_("No machine matches the search")} headingLevel="h2" icon={SearchIcon} variant="sm" />}
            {found.length > 0 && (
                <Table aria-label={_("Machines")} variant="compact" gridBreakPoint="grid-lg" isExpandable>
                    <Thead>
                        <Tr>
                            <Th screenReaderText={_("Show more")} />
                            <Th>{_("Name")}</Th>
                            <Th>{_("State")}</Th>
                            <Th>{_("Image")}</Th>
                            <Th>{_("Pool")}</Th>
                            {hasOwner && <Th>{_("Owner")}</Th>}
                            <Th>{_("Address")}</Th>
                            <Th>{_("Ports")}</Th>
                            <Th>{_("Exit status")}</Th>
                            <Th screenReaderText={_("Actions")} />
                        </Tr>
                    </Thead>
                    {found.map((known, index) => {
                        const { service, machine } = known;
                        const key = viewKey(service.where, machine.name);
                        return (
                            <MachineRow
                                key={keyOf(service, machine)}
                                known={known}
                                index={index}
                                hasOwner={hasOwner}
                                view={views.get(key)}
                                onView={(view) => {
                                    setViews((before) => changed(before, key, view));
                                    keepMachine(view === undefined ? undefined : { where: service.where, name: machine.name, view });
                                }}
                            />
                        );
                    })}
                </Table>
            )}
        </>
    );
}

function viewKey(where: Known["service"]["where"], name: string): string {
    return `${where} ${name}`;
}

function changed(views: ReadonlyMap<string, View>, key: string, view: View | undefined): ReadonlyMap<string, View> {
    const next = new Map(views);
    if (view === undefined) next.delete(key);
    else next.set(key, view);
    return next;
}

function NoMachines() {
    return (
        <EmptyState titleText={_("No machines")} headingLevel="h2" icon={CubesIcon}>
            <EmptyStateBody>{_('A machine runs an image on a volume of its own. To create one, select "Run" in the actions of an image.')}</EmptyStateBody>
            <EmptyStateFooter>
                <EmptyStateActions>
                    <Button
                        variant="link"
                        onClick={() => {
                            cockpit.location.go(["images"]);
                        }}
                    >
                        {_("Show images")}
                    </Button>
                </EmptyStateActions>
            </EmptyStateFooter>
        </EmptyState>
    );
}
