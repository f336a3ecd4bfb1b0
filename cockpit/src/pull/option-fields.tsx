// SPDX-License-Identifier: LGPL-2.1-or-later
/** The fields of the dialog "Pull image" that most pulls do not need. */
import { Checkbox, FormGroup, FormHelperText, HelperText, HelperTextItem, TextInput } from "@patternfly/react-core";

import { _ } from "../translation.ts";
import { isSize, type Fields } from "./form.ts";
import { SuggestionField } from "./suggestion-field.tsx";

const PLATFORMS = ["linux/amd64", "linux/arm64"];

interface Props {
    /** The start of the ids of all inputs. */
    readonly id: string;
    readonly fields: Fields;
    readonly onChange: (fields: Fields) => void;
}

/** The id of the field for the user, if all ids start so. */
export function userFieldOf(id: string): string {
    return `${id}-user`;
}

export function OptionFields({ id, fields, onChange }: Props) {
    return (
        <>
            <FormGroup>
                <Checkbox
                    id={`${id}-tls`}
                    label={_("Verify TLS certificates")}
                    description={_("Otherwise any certificate is accepted, and HTTP without TLS.")}
                    isChecked={fields.tlsVerify}
                    onChange={(_event, tlsVerify) => {
                        onChange({ ...fields, tlsVerify });
                    }}
                />
                <Checkbox
                    id={`${id}-replace`}
                    label={_("Replace an image from elsewhere")}
                    description={_("Even if an image with this name comes from somewhere else. It stays on the disk until the next prune.")}
                    isChecked={fields.replace}
                    onChange={(_event, replace) => {
                        onChange({ ...fields, replace });
                    }}
                />
            </FormGroup>
            <CredentialFields id={id} fields={fields} onChange={onChange} />
            <SuggestionField
                id={`${id}-platform`}
                label={_("Platform")}
                value={fields.platform}
                suggestions={PLATFORMS}
                placeholder={_("that of this host")}
                onChange={(platform) => {
                    onChange({ ...fields, platform });
                }}
            />
            <SizeField id={`${id}-size`} fields={fields} onChange={onChange} />
        </>
    );
}

function CredentialFields({ id, fields, onChange }: Props) {
    const { credentials } = fields;
    return (
        <div className="virtlayer-credentials">
            <FormGroup label={_("User at the registry")} fieldId={userFieldOf(id)}>
                <TextInput
                    id={userFieldOf(id)}
                    value={credentials.username}
                    autoComplete="off"
                    autoCapitalize="none"
                    spellCheck={false}
                    onChange={(_event, username) => {
                        onChange({ ...fields, credentials: { ...credentials, username } });
                    }}
                />
            </FormGroup>
            <FormGroup label={_("Password")} fieldId={`${id}-password`}>
                <TextInput
                    id={`${id}-password`}
                    type="password"
                    value={credentials.password}
                    // The browser must not offer the password with which the user has logged in here.
                    autoComplete="new-password"
                    onChange={(_event, password) => {
                        onChange({ ...fields, credentials: { ...credentials, password } });
                    }}
                />
                <FormHelperText>
                    <HelperText>
                        <HelperTextItem>{_("They are used for this pull only, and not stored.")}</HelperTextItem>
                    </HelperText>
                </FormHelperText>
            </FormGroup>
        </div>
    );
}

function SizeField({ id, fields, onChange }: Props) {
    const isValid = isSize(fields.size);
    return (
        <FormGroup label={_("Virtual size in GiB")} fieldId={id}>
            <TextInput
                id={id}
                value={fields.size}
                inputMode="numeric"
                validated={isValid ? "default" : "error"}
                placeholder={_("as the settings of virtlayerd say")}
                aria-describedby={`${id}-help`}
                onChange={(_event, size) => {
                    onChange({ ...fields, size });
                }}
            />
            <FormHelperText>
                <HelperText id={`${id}-help`} isLiveRegion>
                    {!isValid && <HelperTextItem variant="error">{_("Use a whole number from 1 to 64512.")}</HelperTextItem>}
                </HelperText>
            </FormHelperText>
        </FormGroup>
    );
}
