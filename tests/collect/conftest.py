import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import uvicorn
from collect_traffic import Browser
from PIL import Image

from fergi_reward.collect.access import Access
from fergi_reward.collect.app import ParticipantPages, application
from fergi_reward.collect.operator_pages import OperatorPages
from fergi_reward.collect.options import CollectOptions
from fergi_reward.collect.study import Study, opened
from fergi_reward.files.csv_files import write_rows
from fergi_reward.serve.listening import listening, web_config

TOKEN = "the operator's token"


@dataclass
class Serving:
    """A server of a study that runs."""

    study: Study
    port: int
    operator: OperatorPages
    browsers: list[Browser] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return self.study.folder

    def browser(self):
        self.browsers.append(browser := Browser(self.port))
        return browser

    def entered(self):
        """A browser whose participant agreed, and the state."""
        browser = self.browser()
        return browser, browser.enter()

    def as_operator(self, method, path, body=None):
        headers = {"Authorization": f"Bearer {TOKEN}"}
        return self.browser().ask(method, f"/api/operator/{path}", body, headers=headers)


@pytest.fixture
def pictures(tmp_path):
    """Two sessions of two pictures, one with a prompt that spreadsheets and pages could run."""
    return make_pictures(tmp_path / "pictures")


def make_pictures(folder, sessions=2, images=2):
    folder.mkdir()
    rows = []
    for session in range(sessions):
        for image in range(images):
            grey = np.full((4, 4, 3), 40 * session + 10 * image, np.uint8)
            Image.fromarray(grey).save(folder / f"{session}_{image}.png")
            prompt = f"=1+1 <script>alert({session})</script>"
            rows.append(
                {"session": f"s{session}", "image": f"i{image}", "file": f"{session}_{image}.png", "prompt": prompt}
            )
    with (folder / "pictures.csv").open("w", newline="") as file:
        write_rows(file, list(rows[0]), rows)
    return folder / "pictures.csv"


@pytest.fixture
def served(pictures, tmp_path):
    """Serves a study with options, as often as it is called."""

    @contextmanager
    def serve(**options):
        options = CollectOptions(pictures=pictures, **{"out": tmp_path / "study", "picture_seconds": 1.0} | options)
        with opened(options) as study, running(study) as serving:
            yield serving

    return serve


@contextmanager
def running(study):
    with listening("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        access = Access(study.options, port, TOKEN, study.id)
        operator = OperatorPages(study, access)
        app = application([*ParticipantPages(study, access, b"the model").routes(), *operator.routes()])
        web = uvicorn.Server(web_config(app, 2))
        thread = threading.Thread(target=web.run, args=([listener],))
        thread.start()
        while not web.started:
            time.sleep(0.005)
        try:
            yield (serving := Serving(study, port, operator))
        finally:
            for browser in serving.browsers:
                browser.connection.close()
            web.should_exit = True
            thread.join()
