"""``lavis-tldr doctor``: every check by itself, its surroundings faked."""

import json
import sys
import threading

import pytest

from lavis_tldr.environment import doctor
from lavis_tldr.environment.doctor import Check
from lavis_tldr.environment.interpreter import Interpreter


@pytest.fixture
def installed(monkeypatch):
    """Call it with distribution=version to say what is installed; the rest is not."""

    def pretend(**versions):
        found = {name.replace("_", "-"): version for name, version in versions.items()}
        monkeypatch.setattr(doctor, "version_of", found.get)
        monkeypatch.setattr("lavis_tldr.environment.diagnosis.version_of", found.get)

    return pretend


@pytest.fixture
def interpreter(monkeypatch):
    """Call it with what a Python process of its own would print, and its error."""
    return lambda output="", error="": monkeypatch.setattr(doctor, "_run", lambda *_, **__: (output, error))


@pytest.mark.parametrize(
    ("version", "status", "word"),
    [
        ((3, 9, 1), "problem", "too old"),
        ((3, 10, 13), "ok", "3.10"),
        ((3, 11, 7), "ok", "3.11"),
        ((3, 12, 1), "note", "tokenizers"),
        ((3, 13, 0), "problem", "never tried"),
    ],
)
def test_python(monkeypatch, version, status, word):
    monkeypatch.setattr(sys, "version_info", version)
    check = doctor.check_python()
    assert check.status == status
    assert word in check.message


@pytest.mark.parametrize(
    ("version", "status"), [(None, "problem"), ("1.0.1", "problem"), ("1.0.2", "ok"), ("1.0.20", "problem")]
)
def test_lavis(installed, version, status):
    installed(salesforce_lavis=version)
    assert doctor.check_lavis().status == status


def test_numpy_2_beside_an_opencv_for_numpy_1(installed):
    installed(numpy="2.2.6", opencv_python_headless="4.5.5.64")
    check = doctor.check_numpy()
    assert check.status == "problem"
    assert "numpy 2.2.6" in check.message
    assert "'numpy<2'" in check.remedy


@pytest.mark.parametrize(("numpy", "opencv"), [("1.26.4", "4.5.5.64"), ("2.2.6", "4.11.0.86")])
def test_numpy_and_opencv_that_go_together(installed, numpy, opencv):
    installed(numpy=numpy, opencv_python_headless=opencv)
    assert doctor.check_numpy().status == "ok"


def test_torch_and_torchvision_that_do_not_match(installed, interpreter):
    installed(torch="2.12.0+cpu", torchvision="0.20.0")
    interpreter(error="RuntimeError: operator torchvision::nms does not exist")
    check = doctor.check_torch()
    assert check.status == "problem"
    assert "torch 2.12.0+cpu" in check.message
    assert "torchvision 0.20.0" in check.message
    assert "--force-reinstall" in check.remedy


def test_torch_missing(installed):
    installed(torch="2.12.0")
    assert doctor.check_torch().status == "problem"


@pytest.mark.parametrize(
    ("transformers", "timm", "status"),
    [
        ("4.26.1", "0.4.12", "ok"),
        ("4.46.3", "0.4.12", "note"),
        ("4.26.1", "1.0.0", "problem"),
        (None, "0.4.12", "problem"),
    ],
)
def test_transformers_and_timm(installed, transformers, timm, status):
    installed(transformers=transformers, timm=timm)
    assert doctor.check_transformers().status == status


@pytest.mark.parametrize("check", [doctor.check_faiss, doctor.check_lavis_import])
def test_what_does_not_import(interpreter, check):
    interpreter(error="ImportError: libfaiss.so: cannot open")
    assert check().status == "problem"
    assert "cannot open" in check().message
    interpreter()
    assert check().status == "ok"


@pytest.mark.parametrize(
    ("output", "status", "words"),
    [
        ("0 none", "note", "CPU build"),
        ("0 12.8", "note", "CUDA_VISIBLE_DEVICES"),
        ("2 12.8", "ok", "2 CUDA device"),
    ],
)
def test_cuda(interpreter, output, status, words):
    interpreter(output)
    assert doctor.check_cuda().status == status
    assert words in doctor.check_cuda().message


@pytest.fixture
def no_hub_settings(monkeypatch):
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_ENDPOINT", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)


def test_hub_switched_off_is_not_asked(monkeypatch, no_hub_settings):
    monkeypatch.setenv("TRANSFORMERS_OFFLINE", "1")
    monkeypatch.setattr(doctor, "_hub_answers", lambda: pytest.fail("the hub was asked"))
    check = doctor.check_hub()
    assert check.status == "note"
    assert "TRANSFORMERS_OFFLINE set" in check.message


@pytest.mark.parametrize(("answers", "status"), [(True, "ok"), (False, "note")])
def test_hub(monkeypatch, no_hub_settings, answers, status):
    monkeypatch.setattr(doctor, "_hub_answers", lambda: answers)
    assert doctor.check_hub().status == status


def test_hub_that_never_answers_is_given_up(monkeypatch):
    test_is_over = threading.Event()

    def never_answers(*_, **__):
        test_is_over.wait(30)
        raise TimeoutError

    monkeypatch.setattr(doctor.socket, "create_connection", never_answers)
    assert doctor._hub_answers(seconds=0.05) is False
    test_is_over.set()


def test_vocabulary(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    assert doctor.check_vocabulary().status == "note"
    snapshot = tmp_path / "hub/models--bert-base-uncased/snapshots/abc"
    snapshot.mkdir(parents=True)
    (snapshot / "vocab.txt").write_text("[PAD]\n")
    assert doctor.check_vocabulary().status == "ok"


def test_nltk_data(interpreter):
    interpreter("corpora/stopwords")
    check = doctor.check_nltk_data()
    assert check.status == "note"
    assert check.remedy.startswith("python -m nltk.downloader stopwords,")


def test_cache_root(monkeypatch, tmp_path):
    monkeypatch.setenv("LAVIS_CACHE_ROOT", str(tmp_path / "new/folder"))
    assert doctor.check_cache_root().status == "ok"
    assert list(tmp_path.iterdir()) == []
    occupied = tmp_path / "file"
    occupied.write_text("")
    monkeypatch.setenv("LAVIS_CACHE_ROOT", str(occupied / "below"))
    check = doctor.check_cache_root()
    assert check.status == "problem"
    assert "LAVIS_CACHE_ROOT" in check.remedy


def test_report_and_exit_status(capsys):
    findings = [
        Check("one", "ok", "fine"),
        Check("two", "note", "so so", "do this"),
        Check("three", "problem", "bad"),
    ]
    checks = [lambda finding=finding: finding for finding in findings]
    assert doctor.examine(checks[:2]) == 0
    assert doctor.examine(checks) == 1
    printed = capsys.readouterr().out
    assert "-> do this" in printed
    assert printed.endswith("1 problem(s).\n")
    assert doctor.examine(checks, as_json=True) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["problems"] == 1
    assert [check["status"] for check in report["checks"]] == ["ok", "note", "problem"]


def test_one_interpreter_serves_the_checks(monkeypatch):
    """A new one goes on after the check that killed it."""
    started, start = [], Interpreter._start
    monkeypatch.setattr(Interpreter, "_start", lambda self: started.append(1) or start(self))
    codes = ["import fractions", "import sys; print('fractions' in sys.modules)", "import os; os.abort()", "print(2)"]
    found = []
    checks = [lambda code=code: found.append(doctor._run(code)) or Check("c", "ok", "fine") for code in codes]
    assert doctor.examine(checks) == 0
    assert found == [("", ""), ("True", ""), ("", "the interpreter died with exit status -6"), ("2", "")]
    assert len(started) == 2
    assert doctor._PYTHON._process is None


def test_errors_in_the_other_process_are_reported():
    assert doctor._run("print(6 * 7)") == ("42", "")
    assert doctor._run("raise ImportError('broken wheel')") == ("", "ImportError: broken wheel")
    assert doctor._run("import os; os.abort()")[1].endswith("exit status -6")
