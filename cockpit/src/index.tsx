// SPDX-License-Identifier: LGPL-2.1-or-later
import "@patternfly/patternfly/patternfly-base.css";
import "./page.css";

import { createRoot } from "react-dom/client";

import { Application } from "./application.tsx";
import { followTheme } from "./theme.ts";

followTheme();
document.addEventListener("DOMContentLoaded", () => {
    cockpit.transport.wait(() => {
        const page = document.getElementById("page");
        if (page === null) throw new Error("index.html has no element #page");
        document.documentElement.lang = cockpit.language;
        createRoot(page).render(<Application />);
    });
});
