// SPDX-License-Identifier: LGPL-2.1-or-later
/** Rows of a form that can be added and removed. */
import { Button, Flex, FlexItem, FormGroup, HelperText, HelperTextItem } from "@patternfly/react-core";
import { MinusCircleIcon, PlusCircleIcon } from "@patternfly/react-icons";
import { useId, type ReactNode } from "react";

import { _, fill } from "../../translation.ts";

interface Props<Row> {
    readonly title: string;
    readonly description: string;
    /** What is wrong with all rows; undefined if nothing is. */
    readonly problem?: string | undefined;
    readonly add: string;
    readonly rows: readonly Row[];
    readonly empty: Row;
    readonly onChange: (rows: readonly Row[]) => void;
    /** The fields of a row; `number` is for their names. */
    readonly fields: (row: Row, change: (part: Partial<Row>) => void, number: number) => ReactNode;
}

export function Rows<Row>({ title, description, problem, add, rows, empty, onChange, fields }: Props<Row>) {
    const id = useId();
    return (
        <FormGroup role="group" label={title} fieldId={id} isStack>
            <HelperText id={id}>
                <HelperTextItem>{description}</HelperTextItem>
            </HelperText>
            {rows.map((row, index) => (
                // Rows have no identity but their place.
                <Flex key={index} flexWrap={{ default: "nowrap" }} spaceItems={{ default: "spaceItemsSm" }}>
                    {fields(
                        row,
                        (part) => {
                            onChange(rows.with(index, { ...row, ...part }));
                        },
                        index + 1,
                    )}
                    <FlexItem>
                        <Button
                            variant="plain"
                            icon={<MinusCircleIcon />}
                            aria-label={fill(_("Remove row $0"), index + 1)}
                            onClick={() => {
                                onChange(rows.toSpliced(index, 1));
                            }}
                        />
                    </FlexItem>
                </Flex>
            ))}
            {problem !== undefined && (
                <HelperText isLiveRegion>
                    <HelperTextItem variant="error">{problem}</HelperTextItem>
                </HelperText>
            )}
            <div>
                <Button
                    variant="link"
                    isInline
                    icon={<PlusCircleIcon />}
                    onClick={() => {
                        onChange([...rows, empty]);
                    }}
                >
                    {add}
                </Button>
            </div>
        </FormGroup>
    );
}
