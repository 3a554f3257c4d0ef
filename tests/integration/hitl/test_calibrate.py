"""Does `hitl calibrate` say what the audits prove, and nothing more?"""

import json
import os
import random
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from typer.testing import CliRunner, Result

from hitl.__main__ import app
from services.feedback.reports.calibration import Calibration, NothingToJudge, Wanted, calibrate
from shared.errors import ConfigurationError
from tests.support.audited_stream import CERTIFIED, AuditedStream

ROOT = Path(__file__).parents[3]
FIXED = {
    "threshold": 0.85,
    "panel": {"rate": 0.5},
    "certificate": {"alpha": 0.05, "delta": 0.10, "sla_hours": 24},
}


@pytest.fixture
def world(engine: Engine) -> AuditedStream:
    """Mode fixed; half of the items are audited."""
    return AuditedStream(engine, FIXED)


def report(world: AuditedStream, wanted: Wanted | None = None) -> Calibration:
    return calibrate(
        world.engine, "sentiment", world.policy, wanted or Wanted(), world.now + timedelta(hours=1)
    )


def audited(world: AuditedStream, count: int = 900, error: float = 0.0) -> None:
    """A frozen grid, and audits after it."""
    world.stream(250)
    world.look()
    world.stream(count, error=error)
    world.look()


def test_in_fixed_mode_it_says_what_could_be_certified_and_what_it_would_save(
    world: AuditedStream,
) -> None:
    # Given a machine that is always right, operated at 0.85 although 0.5 would do
    audited(world)
    found = report(world)
    # I expect the certifier's own test: its epoch, grid and certificate,
    assert (found.basis, found.mode, found.model_version) == ("epoch", "fixed", "m1")
    assert found.epoch is not None
    assert found.certificate is not None
    assert found.certified.threshold is not None
    assert found.certified.threshold < 0.55
    assert found.certified.errors == 0
    assert found.certified.upper_bound is not None
    assert found.certified.upper_bound < 0.05
    assert found.watermark is not None
    assert 350 < found.audits < 550
    # and that people would see about half of the items instead of 85 %.
    reviews = found.reviews_per_1000
    assert reviews.now == pytest.approx(850, abs=40)
    assert reviews.certified == pytest.approx(510, abs=40)
    assert reviews.all_human == 1_000
    # The same is in the table of certificates.
    assert world.live is not None
    assert world.live.certificate_version == found.certificate


def test_in_certified_mode_reviews_are_those_of_the_threshold_that_is_operated_at(
    engine: Engine,
) -> None:
    # Given a machine that is certified for nearly everything, and a file that wishes for 0.7
    world = AuditedStream(engine, CERTIFIED | {"threshold": 0.7})
    live = world.certify()
    assert live.threshold is not None
    assert live.certified_threshold is not None
    assert live.certified_threshold < 0.55 < 0.7 <= live.threshold
    # I expect what people see now, and what they would at the loosest certified threshold.
    reviews = report(world).reviews_per_1000
    assert reviews.now == pytest.approx(430, abs=40)
    assert reviews.certified is not None
    assert reviews.certified < 100


def test_copies_of_wrong_texts_are_left_out_of_the_test_and_named(world: AuditedStream) -> None:
    # Given a stream of which every tenth item is one and the same text, which the machine gets
    # wrong, as an automatic reply may be; all others are right
    world.stream(250)
    world.look()
    for _ in range(40):
        world.stream(18)
        world.stream(2, error=1.0, text="I am out of office")
    found = report(world)
    # I expect the certificate of the different texts, as documented,
    assert found.certified.threshold is not None
    assert found.errors == 1
    # and to be told what it does not speak of.
    assert 20 < found.wrong_copies <= found.duplicates
    assert any(f"{found.wrong_copies} audits are copies" in note for note in found.notes)


def test_the_curve_and_the_reliability_count_every_audit(world: AuditedStream) -> None:
    audited(world, error=0.2)
    found = report(world)
    loosest = found.curve[-1]
    assert found.audits - 10 < loosest.labels <= found.audits
    assert [point.threshold for point in found.curve] == sorted(
        (point.threshold for point in found.curve), reverse=True
    )
    assert all(
        point.upper_bound is not None and point.upper_bound > (point.error_rate or 0)
        for point in found.curve
        if point.labels > 0
    )
    assert sum(each.labels for each in found.reliability) == found.audits
    for each in found.reliability:
        assert each.right_low <= each.right <= each.right_high
        assert each.low <= each.confidence <= each.high
    # One in five is wrong at every confidence: the machine is too sure, and nothing is certified.
    assert found.certified.threshold is None
    assert "error rate is too high" in found.certified.why
    assert found.certificate is None
    assert found.reviews_per_1000.certified is None
    assert found.temperature.value is not None


def test_no_label_yet_is_said_and_certifies_nothing(world: AuditedStream) -> None:
    world.stream(250)
    world.look()
    world.stream(50, answered=False)
    found = report(world)
    assert found.certified.threshold is None
    assert found.certified.why == "no label of the audit panel counts yet"
    assert found.audits == 0
    assert found.waiting > 0
    assert found.temperature.value is None
    assert found.reliability == []


def test_nothing_scored_and_too_little_scored_are_said(world: AuditedStream) -> None:
    with pytest.raises(NothingToJudge, match="no item of 'sentiment' has been scored yet"):
        report(world)
    world.stream(100)
    with pytest.raises(NothingToJudge, match="100 items of 'sentiment' were scored by m1"):
        report(world)


def test_without_the_certifier_it_is_a_preview_and_no_certificate(world: AuditedStream) -> None:
    # Given a log, and no certifier that ever looked at it
    world.stream(1_500)
    found = report(world)
    assert (found.basis, found.epoch, found.certificate) == ("preview", None, None)
    assert found.certified.threshold is not None
    # I expect the thresholds from items before the labels that judge them,
    assert found.since > world.now - timedelta(seconds=1_210)
    assert any("no certificate" in note for note in found.notes)


def test_other_terms_than_the_certifiers_are_a_what_if(world: AuditedStream) -> None:
    audited(world)
    found = report(world, Wanted(alpha=0.2))
    assert (found.basis, found.certificate) == ("what-if", None)
    assert any("promises nothing" in note for note in found.notes)


def test_another_period_than_the_epochs_is_a_what_if_and_blames_no_service(
    world: AuditedStream,
) -> None:
    # Given a certifier at work, and somebody who asks for the last days
    audited(world)
    found = report(world, Wanted(days=2))
    # I expect neither a certificate nor the question whether the certifier is running.
    assert (found.basis, found.certificate) == ("what-if", None)
    assert any("another period" in note for note in found.notes)
    assert not any("running" in note for note in found.notes)


def test_an_unknown_model_version_is_refused_with_those_that_are_known(
    world: AuditedStream,
) -> None:
    audited(world)
    with pytest.raises(ConfigurationError, match=r"scored by 'm9'.*m1 \(\d+\)"):
        report(world, Wanted(model="m9"))


def test_two_models_are_never_mixed(world: AuditedStream) -> None:
    audited(world)
    before = report(world).audits
    world.model = "m2"
    world.stream(600, error=0.5)
    old = report(world, Wanted(model="m1"))
    new = report(world, Wanted(model="m2", days=3_000))
    assert (old.audits, old.errors) == (before, 0)
    assert new.errors > 0.3 * new.audits


def test_labels_that_are_all_right_fit_no_temperature(world: AuditedStream) -> None:
    # Given a machine that says 0.9 of everything and is always right
    world.stream(250)
    world.look()
    world.stream(200, low=0.9, high=0.9)
    found = report(world)
    assert found.temperature.value is None
    assert "were right" in found.temperature.why


class OneSided(random.Random):
    """Chooses the first of anything."""

    def choice(self, seq: Any) -> Any:
        return seq[0]


def test_one_class_only_is_said(world: AuditedStream) -> None:
    # Given a machine that gives every item the same label
    world.random = OneSided(7)
    audited(world)
    found = report(world)
    # I expect what is certified, and that nothing is known about the other label.
    assert found.certified.threshold is not None
    assert any("gave all audited items the label 'negative'" in note for note in found.notes)


def test_a_panel_rate_of_zero_is_said(engine: Engine) -> None:
    world = AuditedStream(engine, {"threshold": 0.85})
    world.stream(600)
    found = report(world)
    assert found.audits == 0
    assert found.certified.threshold is None
    assert any("rate is 0" in note for note in found.notes)


@pytest.fixture
def command(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[CliRunner, Path]:
    monkeypatch.setenv("DATABASE_URL", database_url)
    file = tmp_path / "sentiment.toml"
    file.write_text(
        '[workflow]\nname = "sentiment"\nlabels = ["negative", "positive"]\n'
        "[policy]\nthreshold = 0.85\n[policy.panel]\nrate = 0.5\n"
        "[policy.certificate]\nalpha = 0.05\nsla_hours = 24\n"
    )
    return CliRunner(), file


def run(command: tuple[CliRunner, Path], *options: str) -> Result:
    runner, file = command
    return runner.invoke(app, ["calibrate", "--workflow", str(file), *options])


def test_the_command_prints_and_draws(
    world: AuditedStream, command: tuple[CliRunner, Path], tmp_path: Path
) -> None:
    audited(world, error=0.01)
    drawn = tmp_path / "drawn.png"
    done = run(command, "--plot", str(drawn))
    assert done.exit_code == 0, done.output
    assert "certified: at or above" in done.output
    assert "reviews per 1 000 items" in done.output
    assert drawn.read_bytes().startswith(b"\x89PNG")
    as_json = json.loads(run(command, "--format", "json").stdout)
    assert as_json["certified"]["threshold"] > 0
    assert as_json["basis"] == "epoch"
    assert as_json["curve"][0]["threshold"] > as_json["curve"][-1]["threshold"]


def test_the_plot_is_drawn_for_whoever_reads_only_the_first_lines(
    world: AuditedStream, command: tuple[CliRunner, Path], tmp_path: Path
) -> None:
    # Given a reader of the text that has gone away, as `head` does
    audited(world, count=300)
    drawn = tmp_path / "drawn.png"
    asked = ("calibrate", "--workflow", str(command[1]), "--plot", str(drawn))
    reading, writing = os.pipe()
    os.close(reading)
    cut = subprocess.run(
        [sys.executable, "-P", "-m", "hitl", *asked],
        stdout=writing, stderr=subprocess.PIPE, check=False, timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    os.close(writing)
    # I expect the picture all the same
    assert cut.returncode != 0
    assert drawn.read_bytes().startswith(b"\x89PNG")


def test_the_command_prints_a_note_with_brackets_as_it_is(
    engine: Engine, command: tuple[CliRunner, Path]
) -> None:
    # Given a file without an audit panel
    file = command[1]
    file.write_text(file.read_text().replace("rate = 0.5", "rate = 0.0"))
    audited(AuditedStream(engine, FIXED | {"panel": {"rate": 0.0}}), count=300)
    # I expect that the note names the section of the file that would help
    assert "[policy.panel] rate is 0" in run(command).output


def test_the_command_says_that_there_is_nothing_and_refuses_nonsense(
    engine: Engine, command: tuple[CliRunner, Path]
) -> None:
    nothing = run(command)
    assert nothing.exit_code == 0
    assert "Nothing can be certified: no item" in nothing.output
    assert json.loads(run(command, "--format", "json").stdout)["certified"] is None
    for options, code, message in (
        (("--alpha", "0"), 1, "--alpha 0: it must be between 0 and 1"),
        (("--delta", "1"), 1, "--delta 1"),
        (("--days", "0"), 1, "--days 0"),
        (("--plot", "x.bmp"), 2, ".png or .svg"),
        (("--model", "m9"), 1, "no audited item"),
    ):
        refused = run(command, *options)
        assert refused.exit_code == code
        assert message in refused.output
