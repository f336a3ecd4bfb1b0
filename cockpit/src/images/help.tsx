// SPDX-License-Identifier: LGPL-2.1-or-later
/** What is below a field: how it is filled in, or what is wrong with its value. */
import { FormHelperText, HelperText, HelperTextItem } from "@patternfly/react-core";
import type { ReactNode } from "react";

interface HelpProps {
    readonly id?: string;
    readonly isError?: boolean;
    readonly children: ReactNode;
}

export function Help({ id, isError, children }: HelpProps) {
    return (
        <FormHelperText>
            <HelperText {...(id !== undefined && { id })}>
                <HelperTextItem variant={isError === true ? "error" : "default"}>{children}</HelperTextItem>
            </HelperText>
        </FormHelperText>
    );
}
