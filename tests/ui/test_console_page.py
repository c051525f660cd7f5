"""The console as a person uses it, by mouse, by keyboard, on a phone, in the dark."""

import os
from pathlib import Path

from playwright.async_api import Locator, Page, expect

from tests.integration.admin import Admin
from tests.integration.alert_rows import add_alert
from tests.integration.batch_rows import add_batch
from worker.client import Launch

_MS = 45_000
NAMELESS = """() => [...document.querySelectorAll("input:not([type=hidden])")]
  .filter((e) => !e.labels.length && !e.ariaLabel).map((e) => e.outerHTML)"""
# Texts whose contrast with what is behind them is below 4.5 to 1 (WCAG 2, 1.4.3).
FAINT = """() => {
  const parts = (text) => text.match(/[\\d.]+/g).map(Number);
  const linear = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const behind = (e) => {
    const colour = parts(getComputedStyle(e).backgroundColor);
    return colour.length === 4 && colour[3] === 0 ? behind(e.parentElement) : colour;
  };
  return [...document.body.querySelectorAll("*")]
    .filter((e) => e.checkVisibility() && [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()))
    .filter((e) => {
      const [a, b] = [light(parts(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
      return (a + 0.05) / (b + 0.05) < 4.5;
    })
    .map((e) => e.outerHTML.slice(0, 80));
}"""


async def launched(admin: Admin) -> str:
    launch = Launch(agent="slowpoke", task="Say a lot, slowly.", budget_usd="1")
    return (await admin.office.runs.launch(launch)).run_id


def row_of(page: Page, run: str) -> Locator:
    return page.locator("#runs tr", has_text=run)


async def picture(page: Page, name: str) -> None:
    """Kept where CURB_SCREENSHOTS says; nowhere without it."""
    if folder := os.environ.get("CURB_SCREENSHOTS"):
        await page.screenshot(path=Path(folder) / f"{name}.png")


async def test_a_run_is_killed_by_clicking_and_is_seen_to_end(page: Page, admin: Admin) -> None:
    run = await launched(admin)
    row = row_of(page, run)
    await row.wait_for(timeout=_MS)
    await picture(page, "console")
    page.once("dialog", lambda dialog: dialog.accept())
    await row.get_by_role("button", name="Kill").click()
    await expect(row).to_contain_text("killed", timeout=_MS)
    await expect(row.get_by_role("button")).to_have_count(0, timeout=_MS)


async def test_a_run_is_paused_topped_up_and_resumed(page: Page, admin: Admin) -> None:
    run = await launched(admin)
    row = row_of(page, run)
    await row.get_by_role("button", name="Pause").click(timeout=_MS)
    await row.get_by_role("button", name="Resume").wait_for(timeout=_MS)
    await row.get_by_label("USD").fill("0.5")
    await row.get_by_role("button", name="Top up").click()
    await expect(row).to_contain_text("of $1.5", timeout=_MS)
    await row.get_by_role("button", name="Resume").click()
    await row.get_by_role("button", name="Pause").wait_for(timeout=_MS)
    await admin.office.runs.kill(run)


async def test_a_switch_is_set_and_cleared_by_keyboard_only(page: Page, admin: Admin) -> None:
    await page.get_by_label("Switch", exact=True).focus()
    await page.keyboard.type("kill:agent:poor")
    await page.keyboard.press("Tab")
    await page.keyboard.type("runaway")
    await page.keyboard.press("Enter")
    clear = page.get_by_role("button", name="Clear kill:agent:poor")
    await clear.wait_for(timeout=_MS)
    assert "kill:agent:poor" in await admin.office.authority.read_switches(["kill:agent:poor"])
    await clear.focus()
    await page.keyboard.press("Enter")
    await expect(clear).to_have_count(0, timeout=_MS)


async def until_focused(page: Page, wanted: Locator) -> None:
    """Walk by the tabulator alone until it is there."""
    for _ in range(60):
        await page.keyboard.press("Tab")
        if await wanted.evaluate("each => each === document.activeElement"):
            return
    raise AssertionError("the keyboard does not get there")


async def test_a_call_is_approved_by_keyboard_only(page: Page, admin: Admin) -> None:
    launch = Launch(agent="cashier", task="Refund order 1.", budget_usd="1")
    run = (await admin.office.runs.launch(launch)).run_id
    decide = row_of(page, run).get_by_role("link", name="Decide")
    await decide.wait_for(timeout=_MS)
    await until_focused(page, decide)
    await page.keyboard.press("Enter")
    approve = page.get_by_role("button", name="Approve")
    await approve.wait_for(timeout=_MS)
    await expect(page.locator("#asked")).to_contain_text("order 1")
    await picture(page, "console-run")
    await until_focused(page, approve)
    await page.keyboard.press("Enter")
    await expect(page.locator("#head")).to_contain_text("completed", timeout=_MS)
    await expect(approve).to_have_count(0)


async def test_a_question_is_answered_by_typing(page: Page, admin: Admin) -> None:
    launch = Launch(agent="shy", task="Ask me.", budget_usd="1")
    run = (await admin.office.runs.launch(launch)).run_id
    await page.goto(f"/console/runs/{run}")
    answer = page.get_by_label("answer", exact=True)
    await answer.fill("Take the blue one.", timeout=_MS)
    await page.keyboard.press("Enter")
    await expect(page.locator("#head")).to_contain_text("completed", timeout=_MS)
    await expect(page.locator("#steps")).to_contain_text("Take the blue one.")


async def test_an_alert_is_acknowledged_by_clicking(page: Page, admin: Admin) -> None:
    await add_alert(admin.office.store, "provider:acknowledged")
    await expect(page.locator("#now")).to_contain_text("open alerts1", timeout=_MS)
    await page.get_by_role("link", name="Alerts").click()
    row = page.locator("#alerts tr", has_text="provider:acknowledged")
    await row.get_by_role("button", name="Acknowledge").click(timeout=_MS)
    await expect(row.get_by_role("button")).to_have_count(0, timeout=_MS)
    await expect(row).to_contain_text("operator-")


async def test_a_batch_is_cancelled_by_clicking(page: Page, admin: Admin) -> None:
    batch = await add_batch(admin.office.store, "batch_on_the_page")
    row = page.locator("#batches tr", has_text=batch)
    page.once("dialog", lambda dialog: dialog.accept())
    await row.get_by_role("button", name="Cancel").click(timeout=_MS)
    await expect(row).to_contain_text("cancelling", timeout=_MS)


async def test_a_page_whose_server_went_away_says_so_and_comes_back(page: Page) -> None:
    trouble = page.locator("#trouble")
    await page.route("**/console/live/", lambda route: route.fulfill(status=503, body="away"))
    await page.reload()
    await expect(trouble).to_contain_text("No connection to the server", timeout=_MS)
    await page.unroute("**/console/live/")
    await page.locator("body[data-connected=yes]").wait_for(timeout=_MS)
    await expect(trouble).to_be_hidden()


async def test_on_a_phone_nothing_is_wider_than_the_screen(page: Page, admin: Admin) -> None:
    run = await launched(admin)
    await row_of(page, run).wait_for(timeout=_MS)
    await page.set_viewport_size({"width": 390, "height": 844})
    for path in (
        "/console",
        "/console/budgets",
        "/console/alerts",
        "/console/reports",
        f"/console/runs/{run}",
    ):
        await page.goto(path)
        assert await page.evaluate("document.documentElement.scrollWidth") <= 390
    await page.goto("/console")
    await picture(page, "console-phone")
    await admin.office.runs.kill(run)


async def test_a_viewer_finds_nothing_to_press_but_log_out(page: Page, admin: Admin) -> None:
    run = await launched(admin)
    await row_of(page, run).get_by_role("button", name="Kill").wait_for(timeout=_MS)
    await page.get_by_role("button", name="Log out").click()
    await page.get_by_label("A key with the role").fill(admin.tokens["viewer"])
    await page.keyboard.press("Enter")
    await row_of(page, run).wait_for(timeout=_MS)
    assert await page.get_by_role("button").all_inner_texts() == ["Log out"]
    await expect(page.locator("header")).to_contain_text("may look only")
    await admin.office.runs.kill(run)


async def test_every_field_has_a_name_and_what_is_written_stands_out(page: Page, admin: Admin) -> None:
    run = await launched(admin)
    await row_of(page, run).wait_for(timeout=_MS)
    for path in ("/console", f"/console/runs/{run}"):
        await page.goto(path)
        assert await page.evaluate(NAMELESS) == []
        for scheme in ("light", "dark"):
            await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
            faint = await page.evaluate(FAINT)
            assert faint == [], (scheme, faint)
    await admin.office.runs.kill(run)


async def test_the_page_is_dark_where_the_person_wants_it_dark(page: Page) -> None:
    async def background() -> str:
        return str(await page.evaluate("getComputedStyle(document.body).backgroundColor"))

    await page.emulate_media(color_scheme="light")
    light = await background()
    await page.emulate_media(color_scheme="dark")
    assert await background() != light
    await picture(page, "console-dark")
