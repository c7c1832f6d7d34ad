import pytest

from lavis_tldr.environment.interpreter import Interpreter

KNOWN = "import sys; print('fractions' in sys.modules)"


@pytest.fixture
def python():
    interpreter = Interpreter()
    yield interpreter
    interpreter.close()


def test_output_and_error(python):
    assert python.run("print(6 * 7)") == ("42", "")
    assert python.run("print('lost'); raise ImportError('broken wheel')") == ("", "ImportError: broken wheel")
    assert python.run("def f(:") == ("", "SyntaxError: invalid syntax")
    assert python.run("import os; os.write(1, b'from a library'); print('one\\ntwo')") == ("one\ntwo", "")


def test_an_import_serves_until_an_error(python):
    assert python.run("import fractions") == ("", "")
    assert python.run(KNOWN) == ("True", "")
    python.run("raise ImportError")
    assert python.run(KNOWN) == ("False", "")


def test_a_death_is_told_of_the_code_that_died(python):
    assert python.run("import sys; print('only a warning', file=sys.stderr)") == ("", "")
    assert python.run("import os; os.abort()") == ("", "the interpreter died with exit status -6")
    assert python.run("print('alive')") == ("alive", "")
    assert python.run("import os; os.write(2, b'first\\nGLIBC not found\\n'); os._exit(1)") == ("", "GLIBC not found")


def test_code_that_does_not_end():
    python = Interpreter(seconds=1.5)
    assert python.run("import time; time.sleep(60)") == ("", "no answer after 1.5 s")


def test_a_closed_one_starts_anew(python):
    python.run("import fractions")
    python.close()
    python.close()
    assert python.run(KNOWN) == ("False", "")
