"""Become another program, as a child that does not outlive its parent. Run as a script, never imported for use.

    python -I -S child.py PARENT_PID DEATH_SIGNAL UID:GID|- PROGRAM [ARGUMENT …]

Standard library only and no `site`: this stands in front of every process of the local system and costs about 15 ms.
The parent-death signal exists on Linux alone; elsewhere the next start ends what a killed one left (see `state.py`).
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
_PR_SET_SECUREBITS = 28
_SECBIT_NO_SETUID_FIXUP = 1 << 2
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_CAP_DAC_OVERRIDE = 1
_CAPABILITY_VERSION_3 = 0x20080522


def main(arguments: list[str]) -> None:
    """Bind this process to its parent's life, drop to the user, and become the program."""
    parent_pid, death_signal, user, program, *rest = arguments
    linux = sys.platform == "linux"
    if user != "-":
        uid, gid = (int(part) for part in user.split(":"))
        become(uid, gid, keep_file_access=linux)
    if linux:
        # After the change of user, which clears it; the check closes the race with a parent that died before this line.
        _libc().prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
        if os.getppid() != int(parent_pid):
            sys.exit(1)
    # Python ignores SIGPIPE, and an ignored signal would stay ignored in the program.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.execv(program, [program, *rest])  # noqa: S606 - becoming the program is the purpose


def become(uid: int, gid: int, *, keep_file_access: bool) -> None:
    """Drop from root to `uid`, keeping the right to enter folders that only root may enter where the kernel agrees.

    Postgres refuses to run as root, but its binaries and its data may lie below a 0700 folder such as /root. The
    ambient capability CAP_DAC_OVERRIDE is among those that container engines leave to root by default; a user
    namespace or a bind mount needs rights that they take away.
    """
    os.setgroups([])
    if keep_file_access:
        # Keeps the capabilities over the change of user, and makes access(2) count them: the server's programs ask it.
        _libc().prctl(_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP, 0, 0, 0)
    os.setgid(gid)
    os.setuid(uid)
    if keep_file_access:
        mask = 1 << _CAP_DAC_OVERRIDE
        header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
        # Two blocks of effective, permitted, inheritable: capabilities 0 to 31, then 32 and above.
        capabilities = (ctypes.c_uint32 * 6)(mask, mask, mask, 0, 0, 0)
        # Where the kernel refuses, the program still works if its folders can be entered by everyone.
        _libc().capset(ctypes.byref(header), ctypes.byref(capabilities))
        _libc().prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_DAC_OVERRIDE, 0, 0)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


if __name__ == "__main__":
    main(sys.argv[1:])
