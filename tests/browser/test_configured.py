# SPDX-License-Identifier: LGPL-2.1-or-later
"""The images of images.d and their update, and the list of jobs."""

from playwright.sync_api import Page, expect

from tests.examples.place import SOURCE, Place


def configure(session: Place, name: str, *lines: str) -> None:
    directory = session.daemon.directory / "config" / "virtlayer" / "images.d"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{name}.toml").write_text("".join(f"{line}\n" for line in lines))


def test_configured_images_are_updated_and_jobs_are_listed(page: Page, session: Place) -> None:
    page.get_by_role("tab", name="Configured").click()
    expect(page.get_by_role("heading", name="No configured images")).to_be_visible()

    configure(session, "debian", f'source = "{SOURCE}"', 'pool = "default"', 'name = "debian"')
    absent = 'source = "docker://docker.io/library/absent:1"'
    configure(session, "absent", absent, 'pool = "default"', 'name = "absent"')
    page.reload()
    debian = page.get_by_role("row").filter(has_text="debian.toml")
    expect(debian).to_contain_text("never")
    expect(debian).to_contain_text("due")
    page.get_by_role("button", name="Update now").click()
    notice = page.get_by_role("alert").filter(has_text="1 configured image was not updated")
    expect(notice).to_contain_text("debian: Pulled")
    expect(debian).to_contain_text("Up to date")
    expect(debian).to_contain_text("tomorrow")
    row = page.get_by_role("row").filter(has_text="absent.toml")
    expect(row).to_contain_text("docker.io/library/absent:1")
    notice.get_by_role("button", name="Close notice").click()

    page.get_by_role("tab", name="Jobs").click()
    expect(page.get_by_role("row", name="Update configured images")).to_contain_text("Done")
    session.run("virtlayer", "--user", "remove", "nothing", status=3)
    failed = page.get_by_role("row").filter(has_text="Remove image")
    expect(failed).to_contain_text("Failed")
    expect(failed).to_contain_text("nothing")
    expect(page.get_by_role("tab", name="Jobs")).to_contain_text("1")
    failed.get_by_role("button", name="Dismiss").click()
    expect(failed).to_have_count(0)
