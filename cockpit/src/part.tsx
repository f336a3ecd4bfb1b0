// SPDX-License-Identifier: LGPL-2.1-or-later
/** A part of the page that cannot take the others along when it fails. */
import { Button, EmptyState, EmptyStateActions, EmptyStateBody, EmptyStateFooter } from "@patternfly/react-core";
import { ExclamationCircleIcon } from "@patternfly/react-icons";
import { Component, type ReactNode } from "react";

import { _ } from "./translation.ts";

interface Props {
    readonly children: ReactNode;
    /** Called instead of showing in its place that it has failed. */
    readonly onFailure?: (error: Error) => void;
}

interface State {
    readonly error: Error | undefined;
}

/** Shows its children; if one of them throws, why, and a button to draw them again. React needs a class for it. */
export class Part extends Component<Props, State> {
    override state: State = { error: undefined };

    static getDerivedStateFromError(thrown: unknown): State {
        return { error: thrown instanceof Error ? thrown : new Error(String(thrown)) };
    }

    override componentDidCatch(error: Error): void {
        this.props.onFailure?.(error);
    }

    override render(): ReactNode {
        const { error } = this.state;
        if (error === undefined) return this.props.children;
        if (this.props.onFailure !== undefined) return null;
        return (
            <EmptyState icon={ExclamationCircleIcon} headingLevel="h2" status="danger" titleText={partFailed()}>
                <EmptyStateBody className="long-text">{error.message}</EmptyStateBody>
                <EmptyStateFooter>
                    <EmptyStateActions>
                        <Button
                            onClick={() => {
                                this.setState({ error: undefined });
                            }}
                        >
                            {_("Show it again")}
                        </Button>
                    </EmptyStateActions>
                </EmptyStateFooter>
            </EmptyState>
        );
    }
}

/** What is said of a part that has failed. */
export function partFailed(): string {
    return _("This part of the page cannot be shown");
}
