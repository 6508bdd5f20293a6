#!/usr/bin/env python3
"""Prints the conversation in a chatkeep log, after checking every line of it.

    python3 scripts/read_log.py SESSION.jsonl

Written from docs/format.md alone, with nothing but the standard library, to show that the format
can be read without the crate. Lines that are damaged are reported and left out.
"""

import base64
import json
import sys
import zlib

SUM = len(',"sum":"01234567"}')


def records(path):
    """The whole lines of a log, in order; says on stderr what is wrong with the others."""
    before = "00000000"
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            line = line.rstrip(b"\n")
            stated = line[-10:-2].decode("ascii", "replace")
            if f"{zlib.crc32(before.encode() + line[:-SUM]):08x}" == stated:
                record = json.loads(line)
                if "base64" in record:
                    record["body"] = json.loads(base64.b64decode(record["base64"]))
                yield record
            else:
                print(f"line {number}: the checksum does not match", file=sys.stderr)
            before = stated


def fold(log):
    """The session and its turns, as the records make them."""
    session, turns, active = {}, {}, None
    for record in log:
        kind, body = record["kind"], record["body"]
        turn = turns.get(record["turn"])
        if kind in ("session", "checkpoint"):
            session = body["session"]
            active = body.get("active") if kind == "checkpoint" else active
        elif kind == "session.set":
            for name, value in body.items():
                change(session, name, value)
        elif kind == "active":
            active = body.get("turn")
        elif kind == "request":
            active = record["turn"]
            turns[active] = {**body, "response": {"id": body["response"], "state": "pending"}}
        elif kind == "data":
            at = session if body["on"] == "session" else turn and turn[body["on"]]
            if at is not None:
                change(at.setdefault("data", {}), body["id"], body.get("entry"))
        elif turn is not None:
            apply(turn, kind, body)
    return session, turns, active


def change(fields, name, value):
    if name == "preferences":
        for key, preference in value.items():
            change(fields.setdefault(name, {}), key, preference)
    elif value is None:
        fields.pop(name, None)
    else:
        fields[name] = value


def apply(turn, kind, body):
    response = turn["response"]
    parts = response.setdefault("parts", [])
    if kind == "response":
        turn["response"] = body["response"]
    elif kind == "response.set":
        turn["response"] = {**body["response"], "parts": parts}
    elif kind == "feedback":
        change(response, "feedback", body.get("feedback"))
    elif kind in ("part", "text"):
        if response["state"] == "pending":
            response["state"] = "streaming"
        if kind == "text" and body["index"] < len(parts):
            parts[body["index"]]["data"]["text"] += body["text"]
        elif kind == "part":
            parts[body["index"]:body["index"] + 1] = [body["part"]]


def shown(part):
    """A part as text: its fallback, or the `text` of the built-in kinds that are text."""
    data = part.get("data")
    if "fallback" in part:
        return part["fallback"]
    if isinstance(data, dict) and part["kind"] in ("markdown", "text", "thinking", "code"):
        return data["text"]
    if isinstance(data, dict) and "message" in data:
        return data["message"]
    return f"[{part['kind']}]"


def message(pieces):
    text = ""
    for piece in pieces:
        if isinstance(piece, str):
            text += piece
        elif "text" in piece:
            text += piece["text"]["text"]
        elif "mention" in piece:
            text += piece["mention"].get("text", piece["mention"]["name"])
        elif "variable" in piece:
            text += piece["variable"].get("text", "")
    return text


def main(path):
    session, turns, active = fold(records(path))
    title = session.get("title", {}).get("text", "")
    print(f"# {title} ({session.get('id')}, {len(turns)} turns)")
    branch = []
    while active in turns:
        branch.append(active)
        active = turns[active].get("parent")
    for number in reversed(branch):
        request, response = turns[number]["request"], turns[number]["response"]
        print(f"\n> {message(request.get('message', []))}\n")
        for part in response.get("parts", []):
            print(shown(part))
        print(f"({response['state']})")


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8", newline="\n")
    main(sys.argv[1])
