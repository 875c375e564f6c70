"""What a visitor can choose."""

import subprocess
import sys

import pytest


@pytest.mark.slow
def test_a_new_setting_for_the_page_is_in_the_panel_and_in_the_api():
    program = """
import dataclasses
import icl.settings
from clfcore.config import setting

@dataclasses.dataclass(frozen=True, slots=True)
class FewShotConfig(icl.settings.FewShotConfig):
    tone: str = setting("plain", "How it asks.", choices=("plain", "polite"), page=True)
    secret: str = setting("a", "Not for the page.", choices=("a", "b"))

icl.settings.FewShotConfig = FewShotConfig  # before anything else is imported, as in the file
from fastapi.testclient import TestClient
from icl.chat.controls import panel, pickers
from icl.few_shot import FewShot
from icl.service.app import create_app
from icl.session.settings import Settings
from tests.support.service import HERE, OFFERS, Spotter

(tone,) = [widget for widget in panel(OFFERS, {"tone": "polite"}) if widget.id == "tone"]
assert (tone.label, tone.items) == ("tone", {"plain": "plain", "polite": "polite"})
assert tone.initial_value == "polite"
assert "tone" not in [picker.id for picker in pickers()]
assert "secret" not in [widget.id for widget in panel(OFFERS)]

assert Settings.read({"tone": "polite"}).relevant_to("few_shot").tone == "polite"
assert FewShot("sms_spam", lm=None, embedder=None, tone="polite").config.tone == "polite"

spotter = Spotter()
with TestClient(create_app(spotter.workers), HERE) as client:
    question = client.get("/api/openapi.json").json()["components"]["schemas"]["Question"]
    assert question["properties"]["tone"]["enum"] == ["plain", "polite"]
    assert question["properties"]["tone"]["description"] == "Few-shot: How it asks."
    assert "secret" not in question["properties"]
    body = {"texts": ["win"], "method": "few_shot"}
    assert client.post("/api/classify", json={**body, "tone": "polite"}).status_code == 200
    assert spotter.asked[-1][2].tone == "polite"
    answer = client.post("/api/classify", json={**body, "tone": "rude"})
    assert answer.status_code == 422
    assert "choose from plain, polite" in answer.json()["error"]
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
