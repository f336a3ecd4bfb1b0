// SPDX-License-Identifier: LGPL-2.1-or-later
/** Makes a machine by a job, which goes on when its dialog is closed. */
import { useEffect, useRef, useState } from "react";

import { useNotices } from "../../notices.tsx";
import { failureOf, type Failure } from "../../service/failures.ts";
import { array, text } from "../../service/parsing.ts";
import type { Service } from "../../service/service.ts";
import { successOf } from "../../service/success.ts";
import type { Image, Options } from "../../service/values.ts";
import { _, fill } from "../../translation.ts";

export type Run =
    | { readonly kind: "form"; readonly failure: Failure | undefined }
    /** `job` is its path; undefined until the service has accepted it. */
    | { readonly kind: "running"; readonly job: string | undefined };

interface Result {
    readonly run: Run;
    readonly start: (name: string, options: Options) => void;
}

/** @param onDone called with the name of the machine, unless the dialog was closed. */
export function useRun(service: Service, image: Image, onDone: (name: string) => void): Result {
    const notices = useNotices();
    const isOpen = useRef(true);
    const [run, setRun] = useState<Run>({ kind: "form", failure: undefined });
    useEffect(() => {
        isOpen.current = true;
        return () => {
            isOpen.current = false;
        };
    }, []);

    const start = async (name: string, options: Options) => {
        setRun({ kind: "running", job: undefined });
        try {
            const started = await service.createDomain(image.pool, image.name, name, options);
            setRun({ kind: "running", job: started.path });
            const result = await successOf(Promise.resolve(started));
            // Another user's result is private, and then empty.
            const machine = result.name === undefined ? name : text(result.name.v);
            const notes = result.notes === undefined ? [] : array(result.notes.v).map(text);
            notices.add({
                variant: notes.length > 0 ? "info" : "success",
                title: fill(_("The machine $0 was created"), machine),
                body: notes.join(" "),
            });
            if (isOpen.current) onDone(machine);
        } catch (error) {
            const failure = failureOf(error);
            if (isOpen.current) {
                setRun({ kind: "form", failure: failure.kind === "Cancelled" ? undefined : failure });
            } else if (failure.kind !== "Cancelled") {
                notices.add({
                    variant: "danger",
                    title: fill(_("No machine was created from the image $0"), image.name),
                    body: failure.message,
                });
            }
        }
    };
    return { run, start: (name, options) => void start(name, options) };
}
