"""A minimal pilot for measuring: it reports, asks for orders and answers each at once. Standard library only.

Usage: pilot_loop.py HOST PORT SLOT KEY NODE; prints ``ready`` when it is, and ends when it is told to.
"""

import http.client
import json
import sys

from flyinglow.pilot.messages import PATH, Answer, Kind, Message, answer, opened, seal, verify


class Loop:
    def __init__(self, host: str, port: int, slot: str, key: str, node: str) -> None:
        self.slot, self.key, self.node = slot, key, node
        self.epoch, self.session = 1, ""
        self.asking = http.client.HTTPConnection(host, port, timeout=180)
        self.saying = http.client.HTTPConnection(host, port, timeout=180)

    def say(self, way: http.client.HTTPConnection, kind: Kind, **fields: object) -> Answer:
        said = Message(self.slot, self.node, self.epoch, kind, incarnation="loop", **fields)  # type: ignore[arg-type]
        data = seal(said, self.key)
        way.request("POST", PATH, data)
        reply = way.getresponse()
        body = reply.read()
        assert reply.status == 200, (reply.status, body)
        told, text, mac = opened(body)
        verify(self.key, text, mac, opened(data)[2])
        made = answer(told)
        assert made.error is None, made.error
        self.key, self.epoch = made.key or self.key, made.epoch or self.epoch
        self.session = made.session
        return made

    def run(self) -> None:
        self.say(self.saying, Kind.HELLO, sequence=1)
        self.say(self.saying, Kind.READY, sequence=2, body={"left": 3600})
        turn = got = 0
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            turn += 1
            told = self.say(self.asking, Kind.POLL, session=self.session, turn=turn, got=got)
            if told.orders:
                got = told.orders[-1][0]
                lines = [json.dumps({"v": 1, "id": line["id"], "ok": True, "body": {}}) for _, line in told.orders]
                self.say(self.saying, Kind.SAID, session=self.session, turn=turn, body={"lines": lines})
            if told.standing.end:
                return


if __name__ == "__main__":
    Loop(sys.argv[1], int(sys.argv[2]), *sys.argv[3:6]).run()
