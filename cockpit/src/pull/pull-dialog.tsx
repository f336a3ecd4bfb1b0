// SPDX-License-Identifier: LGPL-2.1-or-later
/** The dialog "Pull image". */
import { Alert, ExpandableSection, FormGroup, TextInput } from "@patternfly/react-core";
import { useId, useState } from "react";

import { FormDialog } from "../form-dialog.tsx";
import { placesOf, PoolField, type Place } from "../pool-field.tsx";
import type { Failure } from "../service/failures.ts";
import type { Service } from "../service/service.ts";
import { useReadyServices } from "../services.tsx";
import { _ } from "../translation.ts";
import { EMPTY, fieldsOf, hasOptions, isComplete, requestOf, type Fields } from "./form.ts";
import { OptionFields, userFieldOf } from "./option-fields.tsx";
import { pullsOf } from "./pulls.ts";
import type { PullRequest } from "./request.ts";
import { isLocal, shortName } from "./short-name.ts";
import { useSources } from "./sources.ts";
import { SuggestionField } from "./suggestion-field.tsx";

interface Props {
    /** What the dialog is filled in with. */
    readonly request?: PullRequest;
    /** Whose pool the request names. */
    readonly service?: Service;
    /** Whether the part "Options" is open even if the request has none. */
    readonly isExpanded?: boolean;
    /** Whether the user has to give credentials, again or for the first time. */
    readonly needsCredentials?: boolean;
    /** Called when the service has accepted the pull. */
    readonly onStarted?: () => void;
}

export function PullDialog({ request, service, isExpanded: isExpandedAtFirst = false, needsCredentials = false, onStarted }: Props) {
    const id = useId();
    const places = placesOf(useReadyServices());
    const sources = useSources();
    const [fields, setFields] = useState<Fields>(request === undefined ? EMPTY : fieldsOf(request));
    const [chosen, setChosen] = useState<Place | undefined>(
        request === undefined || service === undefined ? undefined : { service, pool: request.pool },
    );
    const [isExpanded, setExpanded] = useState(isExpandedAtFirst || needsCredentials || (request !== undefined && hasOptions(request)));
    const [problem, setProblem] = useState<string | undefined>();
    // The pool of a request may be gone.
    const place = places.find((one) => one.service === chosen?.service && one.pool === chosen.pool) ?? places[0];

    const pull = async () => {
        if (place === undefined) return;
        setProblem(undefined);
        await pullsOf(place.service).start(requestOf(fields, place.pool), fields.credentials);
        onStarted?.();
    };
    const showAtField = (failure: Failure) => {
        if (failure.kind === "ImageExists") setExpanded(true);
        if (failure.kind !== "InvalidReference") return false;
        setProblem(failure.message);
        return true;
    };

    return (
        <FormDialog
            title={_("Pull image")}
            submit={_("Pull")}
            isValid={place !== undefined && isComplete(fields)}
            onSubmit={pull}
            onFailure={showAtField}
            focus={`[id="${needsCredentials ? userFieldOf(id) : `${id}-source`}"]`}
        >
            <SuggestionField
                id={`${id}-source`}
                label={_("Source")}
                value={fields.source}
                suggestions={sources}
                isRequired
                placeholder="debian:13"
                help={_("A name at Docker Hub, such as debian:13, or docker://HOST/NAME:TAG for another registry.")}
                problem={problem}
                onChange={(source) => {
                    setProblem(undefined);
                    setFields({ ...fields, source });
                }}
            />
            {place?.service.where === "system" && isLocal(fields.source) && (
                <Alert
                    variant="info"
                    variantLabel={_("Information:")}
                    isInline
                    title={_("The browser cannot send a local archive to the system's service. Use the command \"virtlayer pull\".")}
                />
            )}
            <PoolField value={place} onChange={setChosen} />
            <FormGroup label={_("Name")} fieldId={`${id}-name`}>
                <TextInput
                    id={`${id}-name`}
                    value={fields.name}
                    placeholder={shortName(fields.source.trim())}
                    autoComplete="off"
                    onChange={(_event, name) => {
                        setFields({ ...fields, name });
                    }}
                />
            </FormGroup>
            <ExpandableSection
                toggleText={_("Options")}
                isExpanded={isExpanded}
                isIndented
                onToggle={(_event, expanded) => {
                    setExpanded(expanded);
                }}
            >
                {isExpanded && (
                    <div className="pf-v6-c-form">
                        <OptionFields id={id} fields={fields} onChange={setFields} />
                    </div>
                )}
            </ExpandableSection>
        </FormDialog>
    );
}
