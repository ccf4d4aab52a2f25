from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lowlatency.trading.plugins.module_utils.tuning.errors import TuningError

from .conftest import RunModule
from .host_tree import HostTree, full_disk

kernel_tunables = importlib.import_module("ansible_collections.lowlatency.trading.plugins.modules.kernel_tunables")

SYSCTL_FILE = "/etc/sysctl.d/95-os-tuning.conf"
TMPFILES_FILE = "/etc/tmpfiles.d/os-tuning.conf"
RECORD = "/var/lib/os-tuning/kernel_tunables.json"
HUGEPAGES = "/sys/kernel/mm/transparent_hugepage/enabled"


@pytest.fixture
def host(tmp_path: Path) -> HostTree:
    tree = HostTree(tmp_path / "host")
    tree.put_sysctls(vm__swappiness="60", net__core__somaxconn="128", net__ipv4__tcp_rmem="4096\t131072\t6291456")
    return tree


def knob(name: str, value: str | None = None, **options: object) -> dict[str, Any]:
    defaults = {
        "only_raise": False,
        "percent_of_ram": None,
        "unit": "bytes",
        "minimum_mib": None,
        "maximum_mib": None,
        "min_cpus": 1,
    }
    return {"name": name, "value": value, **defaults, **options}


def converge(host: HostTree, *tunables: dict[str, Any], check: bool = False, **options: Any) -> dict[str, Any]:
    request = {"veto": [], "never": [], "force": False, **options}
    result: dict[str, Any] = kernel_tunables.run(
        host.root, kernel_tunables.Request(tunables=list(tunables), **request), check
    )
    return result


def test_a_value_of_any_bytes_is_shown_and_comes_back(
    host: HostTree, monkeypatch: pytest.MonkeyPatch, run_module: RunModule
) -> None:
    host.put_sysctls(kernel__core_pattern="")
    host.place("/proc/sys/kernel/core_pattern").write_bytes(b"/var/crash/\xfc\n")
    host.stand_in(monkeypatch, kernel_tunables)
    wanted = {"name": "kernel.core_pattern", "value": "core"}
    assert run_module("kernel_tunables", tunables=[wanted])["knobs"][0]["before"] == "/var/crash/\\xfc"
    assert run_module("kernel_tunables", tunables=[])["changed"]
    assert host.place("/proc/sys/kernel/core_pattern").read_bytes() == b"/var/crash/\xfc\n"


def statuses(result: dict[str, Any]) -> dict[str, str]:
    return {entry["name"]: entry["status"] for entry in result["knobs"]}


def reason(result: dict[str, Any], name: str) -> str:
    return next(str(entry["reason"]) for entry in result["knobs"] if entry["name"] == name)


def test_a_value_is_live_and_in_the_boot_file_and_a_second_run_changes_nothing(host: HostTree) -> None:
    first = converge(host, knob("vm.swappiness", "10"))
    assert first["changed"]
    assert statuses(first) == {"vm.swappiness": "applied"}
    assert host.sysctl("vm.swappiness") == "10"
    assert "vm.swappiness = 10" in host.text(SYSCTL_FILE)
    after = host.snapshot()

    second = converge(host, knob("vm.swappiness", "10"))
    assert not second["changed"]
    assert statuses(second) == {"vm.swappiness": "already"}
    assert second["knobs"][0]["previous"] == "60"
    assert host.snapshot() == after


def test_the_live_value_counts_not_the_file(host: HostTree) -> None:
    converge(host, knob("vm.swappiness", "10"))
    host.put_sysctls(vm__swappiness="30")
    assert converge(host, knob("vm.swappiness", "10"))["changed"]
    assert host.sysctl("vm.swappiness") == "10"


def test_check_mode_foretells_the_result_and_writes_nothing(host: HostTree) -> None:
    before = host.snapshot()
    foretold = converge(host, knob("vm.swappiness", "10"), knob("no.such", "1"), check=True)
    assert host.snapshot() == before
    assert foretold == converge(host, knob("vm.swappiness", "10"), knob("no.such", "1"))


def test_an_empty_list_restores_every_file_of_the_host(host: HostTree) -> None:
    host.put(HUGEPAGES, "always")
    before = host.snapshot()
    converge(host, knob("vm.swappiness", "10"), knob("net.core.somaxconn", "4096"), knob(HUGEPAGES, "madvise"))
    assert f"w {HUGEPAGES} - - - - madvise" in host.text(TMPFILES_FILE)

    result = converge(host)
    assert set(statuses(result).values()) == {"restored"}
    assert host.snapshot() == before
    assert not converge(host)["changed"]


def test_a_recorded_value_survives_new_wishes_and_a_second_first_touch(host: HostTree) -> None:
    converge(host, knob("vm.swappiness", "10"))
    converge(host, knob("vm.swappiness", "1"))
    host.put_sysctls(vm__swappiness="99")
    converge(host, knob("vm.swappiness", "5"))
    converge(host)
    assert host.sysctl("vm.swappiness") == "60"


def test_switching_restores_only_what_is_no_longer_listed(host: HostTree) -> None:
    converge(host, knob("vm.swappiness", "10"), knob("net.core.somaxconn", "4096"))
    result = converge(host, knob("vm.swappiness", "10"))
    assert statuses(result) == {"vm.swappiness": "already", "net.core.somaxconn": "restored"}
    assert host.sysctl("net.core.somaxconn") == "128"
    assert "somaxconn" not in host.text(SYSCTL_FILE)


def test_what_somebody_else_changed_is_kept_unless_forced(host: HostTree) -> None:
    converge(host, knob("vm.swappiness", "10"))
    host.put_sysctls(vm__swappiness="33")
    kept = converge(host)
    assert statuses(kept) == {"vm.swappiness": "kept"}
    assert "33" in reason(kept, "vm.swappiness")
    assert host.sysctl("vm.swappiness") == "33"
    assert not converge(host)["changed"]

    assert statuses(converge(host, force=True)) == {"vm.swappiness": "restored"}
    assert host.sysctl("vm.swappiness") == "60"
    assert not host.place(RECORD).exists()


def test_only_raise_leaves_a_higher_number_and_does_not_fix_it_for_the_next_boot(host: HostTree) -> None:
    host.put_sysctls(net__core__somaxconn="65535")
    result = converge(host, knob("net.core.somaxconn", "4096", only_raise=True))
    assert statuses(result) == {"net.core.somaxconn": "already"}
    assert "65535" in reason(result, "net.core.somaxconn")
    assert not result["changed"]
    assert not host.place(SYSCTL_FILE).exists()


def test_only_raise_raises_a_lower_number(host: HostTree) -> None:
    assert statuses(converge(host, knob("net.core.somaxconn", "4096", only_raise=True))) == {
        "net.core.somaxconn": "applied"
    }
    assert host.sysctl("net.core.somaxconn") == "4096"


def test_only_raise_of_a_vector_is_an_error_that_names_it(host: HostTree) -> None:
    with pytest.raises(TuningError, match=r"net\.ipv4\.tcp_rmem"):
        converge(host, knob("net.ipv4.tcp_rmem", "4096", only_raise=True))


def test_vectors_compare_by_their_numbers_not_their_blanks(host: HostTree) -> None:
    assert statuses(converge(host, knob("net.ipv4.tcp_rmem", "4096 131072 6291456"))) == {
        "net.ipv4.tcp_rmem": "already"
    }


@pytest.mark.parametrize(
    ("ram_mib", "kib"),
    [(2048, 64 * 1024), (8192, 163 * 1024), (1024 * 1024, 1024 * 1024)],
    ids=["lower bound", "share", "upper bound"],
)
def test_a_value_is_derived_from_memory_within_its_bounds(tmp_path: Path, ram_mib: int, kib: int) -> None:
    host = HostTree(tmp_path, ram_mib=ram_mib)
    host.put_sysctls(vm__min_free_kbytes="1")
    converge(host, knob("vm.min_free_kbytes", percent_of_ram=2.0, unit="kibibytes", minimum_mib=64, maximum_mib=1024))
    assert host.sysctl("vm.min_free_kbytes") == str(kib)


def test_what_the_kernel_refuses_is_said_recorded_nowhere_and_never_counts_as_changed(host: HostTree) -> None:
    host.link("/proc/sys/kernel/ostype", "/proc/sys/kernel/ostype")
    for check in (True, False, False, True):
        result = converge(host, knob("kernel.ostype", "Other"), check=check)
        assert statuses(result) == {"kernel.ostype": "refused"}
        assert "EACCES" in reason(result, "kernel.ostype")
        assert not result["changed"]
    assert not host.place(SYSCTL_FILE).exists()
    assert not json.loads(host.text(RECORD))["touched"]


def test_a_value_refused_once_is_foretold_by_check_mode(host: HostTree) -> None:
    host.link("/proc/sys/kernel/adj", "/proc/self/oom_score_adj")
    assert statuses(converge(host, knob("kernel.adj", "5000"))) == {"kernel.adj": "refused"}
    foretold = converge(host, knob("kernel.adj", "5000"), check=True)
    assert statuses(foretold) == {"kernel.adj": "refused"}
    assert "EINVAL" in reason(foretold, "kernel.adj")


def test_a_value_the_kernel_ignores_is_a_no_op(host: HostTree) -> None:
    host.link("/proc/sys/net/ipv4/ignored", "/dev/null")
    result = converge(host, knob("net.ipv4.ignored", "1"))
    assert statuses(result) == {"net.ipv4.ignored": "no_op"}
    assert not result["changed"]


def test_what_the_kernel_made_of_a_value_is_in_force_the_second_time_and_can_be_undone(host: HostTree) -> None:
    host.link("/proc/sys/kernel/name", "/proc/thread-self/comm")  # the kernel cuts values after 15 bytes
    before = host.sysctl("kernel.name")
    first = converge(host, knob("kernel.name", "twenty-characters-xx"))
    assert statuses(first) == {"kernel.name": "applied"}
    second = converge(host, knob("kernel.name", "twenty-characters-xx"))
    assert statuses(second) == {"kernel.name": "already"}
    assert not second["changed"]
    assert statuses(converge(host)) == {"kernel.name": "restored"}
    assert host.sysctl("kernel.name") == before


def test_dirty_bytes_go_back_to_the_ratio_they_replaced(host: HostTree) -> None:
    host.put_sysctls(vm__dirty_bytes="0", vm__dirty_ratio="20")
    converge(host, knob("vm.dirty_bytes", percent_of_ram=10.0))
    assert host.sysctl("vm.dirty_bytes") == str(204 * 1024 * 1024)
    touch = json.loads(host.text(RECORD))["touched"]["vm.dirty_bytes"]
    assert (touch["restore_path"], touch["restore_value"]) == ("/proc/sys/vm/dirty_ratio", "20")


def test_a_gate_a_veto_and_the_never_list_each_give_their_reason(host: HostTree) -> None:
    host.put_sysctls(net__core__busy_poll="0", kernel__sched_latency_ns="1", net__ipv4__tcp_sack="1")
    never = [
        {"name": "kernel.sched_*_ns", "value": None, "reason": "gone since 5.13"},
        {"name": "net.ipv4.tcp_sack", "value": "0", "reason": "loses recovery"},
    ]
    result = converge(
        host,
        knob("net.core.busy_poll", "50", min_cpus=2),
        knob("vm.swappiness", "10"),
        knob("kernel.sched_latency_ns", "5"),
        knob("net.ipv4.tcp_sack", "0"),
        veto=["vm.swappiness"],
        never=never,
    )
    assert not result["changed"]
    assert reason(result, "net.core.busy_poll") == "needs 2 CPUs, this host has 1"
    assert reason(result, "vm.swappiness") == "vetoed"
    assert statuses(result)["kernel.sched_latency_ns"] == "refused"
    assert reason(result, "net.ipv4.tcp_sack") == "loses recovery"
    assert statuses(converge(host, knob("net.ipv4.tcp_sack", "1"), never=never)) == {"net.ipv4.tcp_sack": "already"}


def test_a_veto_restores_what_was_set_before(host: HostTree) -> None:
    converge(host, knob("vm.swappiness", "10"))
    converge(host, knob("vm.swappiness", "10"), veto=["vm.swappiness"])
    assert host.sysctl("vm.swappiness") == "60"


def test_a_later_file_that_sets_another_value_is_named(host: HostTree) -> None:
    host.put("/etc/sysctl.d/99-hardening.conf", "# strict\nvm.swappiness = 0\nnet/core/somaxconn=4096")
    host.put("/usr/lib/sysctl.d/50-default.conf", "vm.swappiness = 1")
    result = converge(host, knob("vm.swappiness", "10"), knob("net.core.somaxconn", "4096"))
    overridden = {entry["name"]: entry["overridden_by"] for entry in result["knobs"]}
    assert overridden == {
        "vm.swappiness": "/etc/sysctl.d/99-hardening.conf sets 0",
        "net.core.somaxconn": "",
    }


@pytest.mark.parametrize(
    "line",
    ["net..core = 1", ".a.b = 1", "vm.swappiness.. = 1", "kernel/../x = 1", "no value", "= 1", "a.b", "\0.\x85 = \x1b"],
)
def test_a_malformed_line_of_a_later_file_is_skipped_as_at_boot(host: HostTree, line: str) -> None:
    host.put("/etc/sysctl.d/99-x.conf", f"{line}\nvm.swappiness = 0")
    host.place("/etc/sysctl.d/99-y.conf").mkdir()
    result = converge(host, knob("vm.swappiness", "10"))
    assert result["knobs"][0]["overridden_by"] == "/etc/sysctl.d/99-x.conf sets 0"
    assert not converge(host, knob("vm.swappiness", "10"))["changed"]


def test_a_later_file_that_cannot_be_read_is_named_and_nothing_is_changed(host: HostTree) -> None:
    host.link("/etc/sysctl.d/99-x.conf", "/proc/self/mem")  # even root cannot read it
    before = host.snapshot()
    with pytest.raises(TuningError, match=r"99-x\.conf: cannot be read"):
        converge(host, knob("vm.swappiness", "10"))
    assert host.snapshot() == before


@pytest.mark.parametrize(("enabled", "overridden"), [("yes", "/etc/ufw/sysctl.conf sets 0"), ("no", "")])
def test_a_firewall_that_sets_kernel_values_is_named_while_it_is_enabled(
    host: HostTree, enabled: str, overridden: str
) -> None:
    host.put("/etc/ufw/ufw.conf", f"# set by ufw\nENABLED={enabled}\nLOGLEVEL=low")
    host.put("/etc/default/ufw", 'IPV6=yes\nIPT_SYSCTL=/etc/ufw/sysctl.conf\nIPT_MODULES=""')
    host.put("/etc/ufw/sysctl.conf", "# kernel values\n#net/ipv4/tcp_sack=1\nvm/swappiness=0")
    assert converge(host, knob("vm.swappiness", "10"))["knobs"][0]["overridden_by"] == overridden


def test_a_later_file_masked_by_a_file_of_the_same_name_does_not_count(host: HostTree) -> None:
    host.put("/usr/lib/sysctl.d/99-vendor.conf", "vm.swappiness = 0")
    host.put("/etc/sysctl.d/99-vendor.conf", "")
    assert converge(host, knob("vm.swappiness", "10"))["knobs"][0]["overridden_by"] == ""


def test_a_damaged_record_is_named_and_nothing_is_changed(host: HostTree) -> None:
    host.put(RECORD, '{"version": 1, "touched": {')
    before = host.snapshot()
    with pytest.raises(TuningError, match=r"kernel_tunables\.json: is damaged"):
        converge(host, knob("vm.swappiness", "10"))
    assert host.snapshot() == before


def test_a_full_disk_is_named_and_nothing_is_changed(host: HostTree) -> None:
    before = host.snapshot()
    with full_disk(), pytest.raises(TuningError, match=r"kernel_tunables\.json: cannot be written"):
        converge(host, knob("vm.swappiness", "10"))
    assert host.snapshot() == before


def test_a_way_back_on_a_full_disk_still_leads_back(host: HostTree) -> None:
    before = host.snapshot()
    converge(host, knob("vm.swappiness", "10"))
    # On a host with a full disk, kernel settings could still be set. Here they are plain files, which cannot be written
    # then.
    host.put_sysctls(vm__swappiness="60")
    with full_disk():
        converge(host)
    assert host.snapshot() == before


def test_a_boot_file_that_cannot_be_written_sets_the_kernel_back(host: HostTree) -> None:
    host.link("/etc/sysctl.d", "/proc/self/fdinfo")  # no file can be created there
    with pytest.raises(TuningError, match=r"sysctl\.d.*set back"):
        converge(host, knob("vm.swappiness", "10"))
    assert host.sysctl("vm.swappiness") == "60"
    host.place("/etc/sysctl.d").unlink()
    converge(host, knob("vm.swappiness", "10"))
    converge(host)
    assert host.sysctl("vm.swappiness") == "60"


def test_a_run_killed_before_its_first_write_can_be_continued_and_undone(host: HostTree) -> None:
    converge(host, knob("vm.swappiness", "10"))
    host.put_sysctls(vm__swappiness="60")  # killed after the record was saved, before the kernel was changed
    host.place(SYSCTL_FILE).unlink()
    assert statuses(converge(host)) == {}
    assert not host.place(RECORD).exists()


@pytest.mark.parametrize("name", ["../etc/passwd", "vm..swappiness", "/etc/passwd", "/sys/../etc", "swappiness", ""])
def test_a_name_that_leads_elsewhere_is_an_error(host: HostTree, name: str) -> None:
    with pytest.raises(TuningError, match="tunable"):
        converge(host, knob(name, "1"))


def test_a_value_of_two_lines_is_an_error(host: HostTree) -> None:
    with pytest.raises(TuningError, match=r"vm\.swappiness.*one line"):
        converge(host, knob("vm.swappiness", "1\nkernel.panic = 1"))


def test_a_dot_in_an_interface_name_is_written_as_a_slash(host: HostTree) -> None:
    host.put("/proc/sys/net/ipv4/conf/eth0.5/rp_filter", "0")
    converge(host, knob("net.ipv4.conf.eth0/5.rp_filter", "1"))
    assert host.text("/proc/sys/net/ipv4/conf/eth0.5/rp_filter") == "1"


def test_ansible_gets_one_line_for_a_bad_name(run_module: Any) -> None:
    report = run_module("kernel_tunables", check=True, tunables=[{"name": "swappiness", "value": "1"}])
    assert report["failed"]
    assert "swappiness" in report["msg"]
    assert "exception" not in report
