"""What is shipped: the wheel has all that others need, and nothing of what they do not."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("contracts", "wire", "publisher", "subscriber", "worker", "gateway", "pointsman")


def test_the_wheel_has_every_file_of_every_package_the_examples_of_the_contract_too(tmp_path: Path):
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        shipped = {name for name in opened.namelist() if ".dist-info/" not in name}
    written = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert shipped == written
    assert {"contracts/fixtures/event-service-changed.json", "gateway/page/static/app.js"} <= shipped
    assert {"publisher/lua/publish.lua", "contracts/py.typed"} <= shipped
