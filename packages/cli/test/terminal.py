"""Runs a program at a terminal of its own: python3 terminal.py COLUMNS ROWS SCRIPT PROGRAM ARG...

SCRIPT is JSON: a list of [pattern, answer]. When the pattern is seen in what the program shows (after the last answer),
the answer is typed. An answer {"tell": FILE, "hear": FILE} is somebody else's: what the first group of the pattern found
is written to the one file, and what then appears in the other is typed. {"stopped": TEXT} is typed after the program was
stopped and continued, by a shell that set the terminal as shells have it. Prints what was shown, and then the exit code on a
line of its own.
"""
import fcntl, json, os, pty, re, select, signal, struct, sys, termios, time

columns, rows, script, command = int(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3]), sys.argv[4:]
deadline = time.time() + 110
pid, master = pty.fork()
if pid == 0:
    os.execvp(command[0], command)

def typed(answer, found):
    if isinstance(answer, str):
        return answer.encode()
    if "stopped" in answer:
        os.kill(pid, signal.SIGSTOP)
        os.waitpid(pid, os.WUNTRACED)
        modes = termios.tcgetattr(master)
        modes[0] |= termios.ICRNL
        modes[3] |= termios.ECHO | termios.ICANON
        termios.tcsetattr(master, termios.TCSANOW, modes)
        os.kill(pid, signal.SIGCONT)
        while termios.tcgetattr(master)[3] & termios.ECHO and time.time() < deadline:
            time.sleep(0.05)
        return answer["stopped"].encode()
    with open(answer["tell"], "wb") as file:
        file.write(found.group(1) + b"\n")
    while not os.path.exists(answer["hear"]):
        time.sleep(0.05)
    with open(answer["hear"], "rb") as file:
        return file.read()

fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
shown, since = b"", 0
while True:
    ready, _, _ = select.select([master], [], [], max(0, deadline - time.time()))
    if not ready:
        os.kill(pid, signal.SIGKILL)
        break
    try:
        data = os.read(master, 65536)
    except OSError:
        data = b""
    if not data:
        break
    shown += data
    while script and (found := re.search(script[0][0].encode(), shown[since:])):
        since = len(shown)
        os.write(master, typed(script.pop(0)[1], found))
_, status = os.waitpid(pid, 0)
sys.stdout.buffer.write(shown)
sys.stdout.write("\n%d" % os.waitstatus_to_exitcode(status))
