// SPDX-License-Identifier: LGPL-2.1-or-later
/** A pull that runs or waits in the queue. */
import { Button, Flex, FlexItem, ListItem, Progress } from "@patternfly/react-core";
import { useId, useState } from "react";

import { failureOf } from "../service/failures.ts";
import { _, fill } from "../translation.ts";
import type { Pulls, RunningPull } from "./pulls.ts";
import { nameOf, progressParts } from "./words.ts";

interface Props {
    readonly pulls: Pulls;
    readonly pull: RunningPull;
}

export function RunningPullItem({ pulls, pull }: Props) {
    const { job, request } = pull;
    const id = useId();
    const name = nameOf({ request, source: job.source });
    return (
        <ListItem>
            <Flex flexWrap={{ default: "nowrap" }} alignItems={{ default: "alignItemsCenter" }}>
                <FlexItem flex={{ default: "flex_1" }} className="virtlayer-pull">
                    <PullTitle name={name} source={job.source} pool={job.pool} />
                    <Progress
                        id={id}
                        size="sm"
                        measureLocation="outside"
                        aria-label={fill(_("Pull of $0"), name)}
                        aria-describedby={`${id}-details`}
                        value={Math.floor(job.progress * 100)}
                    />
                    <div id={`${id}-details`} className="virtlayer-pull-details">
                        {progressParts(pull).join(" · ")}
                    </div>
                </FlexItem>
                <FlexItem>
                    <CancelButton pulls={pulls} pull={pull} />
                </FlexItem>
            </Flex>
        </ListItem>
    );
}

/** The name of the image, and where it comes from and goes to. */
function PullTitle({ name, source, pool }: { readonly name: string; readonly source: string; readonly pool: string }) {
    return (
        <div>
            <strong>{name}</strong>{" "}
            <span className="virtlayer-pull-details">
                {source === "" ? fill(_("into pool $0"), pool) : fill(_("from $0 into pool $1"), source, pool)}
            </span>
        </div>
    );
}

function CancelButton({ pulls, pull }: Props) {
    const [isEnding, setEnding] = useState(false);
    const [problem, setProblem] = useState("");
    const cancel = async () => {
        setEnding(true);
        setProblem("");
        try {
            await pulls.cancel(pull.job);
        } catch (error) {
            const failure = failureOf(error);
            // It has ended in the meantime.
            if (failure.kind !== "NoSuchJob") setProblem(failure.message);
            setEnding(false);
        }
    };
    return (
        <>
            {problem !== "" && <span role="alert">{problem} </span>}
            <Button variant="secondary" size="sm" isLoading={isEnding} isDisabled={isEnding} onClick={() => void cancel()}>
                {_("Cancel")}
            </Button>
        </>
    );
}
