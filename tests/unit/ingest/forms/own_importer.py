"""An importer of one's own, as a file of REFOLD_HOME/importers."""

OWN = '''
"""Tickets of a shop, a JSON line each."""
import json
from pipelines.ingest.assemble.rows import Group, Message, Record, Step
from pipelines.ingest.assemble.leaves import leaves


class Tickets:
    name = "tickets"

    def recognises(self, head):
        return head.names("ticket", "said")

    def groups(self, files, options):
        for path in files:
            for number, line in enumerate(path.read_text().splitlines(), start=1):
                value = json.loads(line)
                record = Record(f"{path.name}:{number}", value, leaves(value))
                yield Group(str(value["ticket"]), True, iter([record]))

    def adapt(self, group, options):
        for record in group.records:
            del record.value["ticket"]
            for n, text in enumerate(record.value.pop("said")):
                chat = {"role": "assistant" if n % 2 else "user", "content": text}
                yield Step("utterance", f"{record.place}/{n}", record.place, message=Message(chat), rest=record.value)


FORM = Tickets()
'''
