"""The way of one simulated participant through the page, by what people see: its buttons and their names."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fergi_reward.collect.simulation.camera import camera_script, set_lowerings
from fergi_reward.collect.simulation.people import Person
from fergi_reward.core.errors import FergiRewardError

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

STRINGS = Path(__file__).parents[1] / "page" / "strings"
ENDS = ("done", "withdrawn")
PATIENCE = 180_000  # milliseconds; a step that takes longer has failed, even where browsers share a busy processor
ASKS_AGAIN = 500  # milliseconds
MOST_SCREENS = 10_000
DIGEST = """async url => {
  const bytes = await crypto.subtle.digest("SHA-256", await (await fetch(url)).arrayBuffer());
  return [...new Uint8Array(bytes)].map(byte => byte.toString(16).padStart(2, "0")).join("");
}"""


@dataclass(frozen=True)
class Way:
    """What a participant did.

    Attributes:
        person: Who it was.
        name: Their pseudonym in the study.
        retakes: How many trials were shown again.
        withdrew: Whether everything was deleted again.
    """

    person: Person
    name: str
    retakes: int
    withdrew: bool


def strings(language: str) -> Mapping[str, str]:
    """The page's words in a language that is shipped, or in that of a file."""
    path = Path(language) if language.endswith(".json") else STRINGS / f"{language}.json"
    words: dict[str, str] = json.loads((STRINGS / "en.json").read_text(encoding="utf-8"))
    return words | json.loads(path.read_text(encoding="utf-8"))


class Participant:
    """A person in front of a page.

    Args:
        page: An empty page.
        person: Who it is.
        language: The language of the page.
    """

    def __init__(self, page: "Page", person: Person, language: str = "en") -> None:
        self.page, self.person, self.words = page, person, strings(language)
        self.code, self.retakes = "", 0
        self._state: dict[str, Any] = {}
        self._pictures: dict[str, str] = {}  # the digest of each picture by its opaque id
        self._will_reload = person.reloads
        page.set_default_timeout(PATIENCE)

    def arrive(self, address: str) -> None:
        """Open the study."""
        self.page.add_init_script(camera_script(self.person.look))
        self.page.goto(address)
        self.next_screen()

    def take_part(self) -> Way:
        """From where the page is to its end.

        Raises:
            FergiRewardError: The page did not get there.
        """
        for _ in range(MOST_SCREENS):
            if self.step in ENDS:
                return Way(self.person, self._state.get("participant", ""), self.retakes, withdrew=False)
            self.take_step()
        raise FergiRewardError(f"a simulated participant saw {MOST_SCREENS} screens, and the study did not end")

    @property
    def step(self) -> str:
        """The page's step."""
        return self.page.locator("body").get_attribute("data-step") or ""

    def take_step(self) -> None:
        """Do what the screen asks for.

        Raises:
            FergiRewardError: The page shows an error, or a step that is not known.
        """
        steps = {
            "consent": self._consent,
            "code": self._keep_the_code,
            "camera": self._show_the_face,
            "trial": self._look_at_a_picture,
            "retake": self._retake,
            "rate": self._rate,
            "rank": self._rank,
            "pair": self._compare,
        }
        if self.step not in steps:
            said = self.page.locator("main").inner_text()
            raise FergiRewardError(f"the page of a simulated participant stopped at {self.step!r}: {said!r}")
        steps[self.step]()

    def button(self, key: str, **values: str) -> "Locator":
        """A button by the key of its name among the page's strings."""
        name = self.words[key]
        for word, value in values.items():
            name = name.replace(f"{{{word}}}", value)
        return self.page.get_by_role("button", name=name, exact=True)

    def press(self, button: "Locator") -> None:
        """Press a button and wait for the next screen."""
        button.wait_for()
        self.page.evaluate("document.querySelector('main > h1').dataset.left = ''")
        button.click()
        self.next_screen()

    def next_screen(self) -> None:
        """Wait for a screen that asks for something, and is not the one whose heading is marked."""
        self.page.locator("main:not([data-part]):has(> h1:not([data-left])):has(.actions)").wait_for()

    def _consent(self) -> None:
        for box in self.page.get_by_role("checkbox").all():
            box.check()
        self.press(self.button("consent.agree"))

    def _keep_the_code(self) -> None:
        self.code = self.page.locator("output").inner_text()
        self.press(self.button("code.continue"))

    def _show_the_face(self) -> None:
        if (on := self.button("camera.switch_on")).count():
            return self.press(on)
        ready = self.button("check.continue").or_(self.button("check.anyway"))
        ready = ready.and_(self.page.locator("button:enabled")).first
        while self.step == "camera":  # a frame that comes between may close the button again
            if ready.count():
                ready.dispatch_event("click")
            self.page.wait_for_timeout(ASKS_AGAIN)
        return self.next_screen()

    def _look_at_a_picture(self) -> None:
        self._know_the_pictures()
        start = self.button("trial.start")
        start.wait_for()
        if not self._will_reload:
            return self.press(start)
        start.click()
        self.page.locator("main[data-part=picture]").wait_for()
        self._will_reload = False
        self.page.reload()
        return self.next_screen()

    def _retake(self) -> None:
        """Once a trial; whoever is disturbed all the time would never come to an end."""
        again = self.page.locator("body").get_attribute("data-retaken") is None
        self.retakes += again
        self.page.evaluate("document.body.dataset.retaken = ''" if again else "delete document.body.dataset.retaken")
        self.press(self.button("retake.again" if again else "retake.continue"))

    def _rate(self) -> None:
        for scale in self.page.get_by_role("group").all():
            scale.get_by_role("radio", name="5", exact=True).check()
        self.press(self.button("rate.continue"))

    def _rank(self) -> None:
        """Put the pictures into places, the best one first."""
        self._know_the_pictures()
        session = next(
            one for one in self._state["sessions"] if one["session"] == self._fresh_state()["next"]["session"]
        )
        cards = {chr(ord("A") + place): each["image"] for place, each in enumerate(session["pictures"])}
        for name in sorted(cards, key=lambda name: -self.person.ranking_value(self._pictures[cards[name]])):
            self.button("rank.card", name=name).click()
        self.press(self.button("rank.confirm"))

    def _compare(self) -> None:
        self._know_the_pictures()
        asked = self._fresh_state()["next"]["pair"]
        pair = next(one for one in self._state["pairs"] if one["pair"] == asked)
        better = max(("left", "right"), key=lambda side: self.person.ranking_value(self._pictures[pair[side]]))
        self.press(self.button(f"pair.{better}"))

    def _fresh_state(self) -> dict[str, Any]:
        self._state = self.page.evaluate("async () => (await fetch('/api/state')).json()")
        return self._state

    def _know_the_pictures(self) -> None:
        """Recognise all pictures, once, and say how the brows come down at each."""
        if self._pictures:
            return
        state = self._fresh_state()
        shown = [each for session in state["sessions"] for each in session["pictures"]]
        self._pictures = {each["image"]: self.page.evaluate(DIGEST, each["url"]) for each in shown}
        lowerings = {trial["trial"]: self.person.lowering(self._pictures[trial["image"]]) for trial in state["trials"]}
        set_lowerings(self.page, lowerings)


def take_part(browser: "Browser", address: str, person: Person, language: str = "en") -> Way:
    """A person's whole way, in a profile of its own.

    Raises:
        FergiRewardError: The page did not come to its end.
    """
    from playwright.sync_api import Error

    context = browser.new_context()
    participant = Participant(context.new_page(), person, language)
    try:
        participant.arrive(address)
        way = participant.take_part()
        if person.withdraws:
            withdraw(browser, address, participant.code, participant.words)
    except Error as error:
        why = " ".join(line.strip() for line in str(error).splitlines()[:3])
        said = " ".join(participant.page.locator("main").all_inner_texts())[:200]
        raise FergiRewardError(
            f"the page stopped simulated participant {person.number}: {why}; it says {said!r}"
        ) from error
    finally:
        context.close()
    return replace(way, withdrew=person.withdraws)


def withdraw(browser: "Browser", address: str, code: str, words: Mapping[str, str]) -> None:
    """Have everything deleted with the code, from another browser."""
    context = browser.new_context()
    try:
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(address)
        page.get_by_role("button", name=words["withdraw.have_code"]).click()
        page.get_by_role("textbox").fill(code)
        page.get_by_role("button", name=words["withdraw.delete"], exact=True).click()
        page.locator("body[data-step=withdrawn]").wait_for()
    finally:
        context.close()
