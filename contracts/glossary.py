"""What each field means, in one sentence: for the schemas and for the documents made from them."""

from collections.abc import Mapping

_COMMAND = {
    "action": "What to do.",
    "service": "The service's name, exact.",
    "id": "Idempotency key. Without it the entry's stream id is the id.",
    "v": "Version of the contract.",
    "issuer": "Who asks: a claim, kept in receipt and events. `self-heal` is reserved.",
    "reason": "Why: a claim, kept in receipt and events.",
    "expires_at": "Unstarted past this, the command expires. Default: 300 s after entry or `not_before`.",
    "not_before": "Run no earlier than this; before `expires_at`.",
    "timeout": "Stop grace in seconds. Default: the label, then the container's own, then 10.",
    "expect_container_id": "Act only on this container; compared on 12 digits.",
    "expect_started_at": "Act only on this run of the container: the engine's own string.",
    "coalesce": "Join the same action if it is the last in the lane and still queued.",
    "traceparent": "W3C trace context, carried into the command's events.",
    "tracestate": "W3C trace state, carried into the command's events.",
}

_RECEIPT = _COMMAND | {
    "id": "The command's id.",
    "status": "Where the command is; succeeded, rejected, failed, expired, canceled and dead are final.",
    "entry": "The entry's id in the commands stream.",
    "code": "HTTP-like code of the outcome.",
    "error": "The contract's word for the outcome; none on success.",
    "message": "A sentence on the outcome.",
    "changed": "False when the service already was as asked.",
    "attempt": "How often the command has begun; from 1.",
    "worker": "The worker that has, or had, the command.",
    "duplicates": "How many more entries came with this id and the same fingerprint.",
    "coalesced_into": "The command that this one joined and whose outcome it gets.",
    "requeued_from": "The dead letter that this command was requeued from.",
    "accepted_at": "When the publisher's or a worker's script first saw the command.",
    "started_at": "When the command first began.",
    "finished_at": "When the command settled.",
    "expires_at": "When the command expires if it has not begun.",
    "before_container_id": "Evidence: the container before the call.",
    "before_started_at": "Evidence: its StartedAt before the call, the engine's string.",
    "before_finished_at": "Evidence: its FinishedAt before the call, the engine's string.",
    "called_at": "Evidence: when the engine was called.",
    "after_container_id": "The container that was there afterwards.",
    "after_started_at": "Its StartedAt afterwards, the engine's string.",
    "recovered": "True when a later attempt found the effect done and did not repeat it.",
    "revision": "The revision of the event that settled the command.",
    "history": "JSON list, as text, of the deaths that this command was requeued after.",
}

_SNAPSHOT = {
    "name": "The service's name.",
    "status": "What is asked and what is observed, in one word.",
    "display_name": "The name for people.",
    "category": "Any word of `[a-z0-9-]{1,32}`; known: infrastructure, ai, monitoring.",
    "enabled": "Whether commands and healing may start it.",
    "desired": "What it should be.",
    "container_id": "First 12 characters of the container's id.",
    "image": "The image's reference.",
    "port": "The service's own port.",
    "container_state": "The engine's word for the container's state.",
    "health": "The engine's word: none, starting, healthy or unhealthy.",
    "failure_count": "Failures since the last reset.",
    "restart_count": "Restarts by this system, ever.",
    "last_restart_at": "StartedAt after the last restart by this system, the engine's string.",
    "started_at": "StartedAt, the engine's string; uptime is now minus this while it runs.",
    "last_exit_code": "Exit code of the last exit.",
    "last_exit_at": "FinishedAt of the last exit, the engine's string.",
    "last_start_error": "The engine's words for the last start that failed.",
    "last_start_error_at": "When that was.",
    "restart_scheduled_at": "When planned healing will act.",
    "reason": "Why the status is what it is, in a short word.",
    "message": "Why the status is what it is, in a sentence.",
    "observed_at": "When the observer last looked.",
    "revision": "The revision of the last change.",
}

_WORKER = {
    "name": "The worker's name.",
    "started_at": "When it started.",
    "host": "The host it runs on.",
    "pid": "Its process id there.",
    "version": "Its version of Pointsman.",
    "engine_status": "Whether it reaches its engine.",
    "running": "How many commands it has in hand.",
    "capacity": "How many it takes at most.",
}

_META = {
    "contract": "Version of the contract.",
    "epoch": "The room's epoch, `<ms>-<8 hex>`; revisions are ordered within it.",
    "revision": "The revision of the newest event.",
    "engine_id": "The ID of the engine that the room belongs to.",
    "engine_status": "available or unavailable, as the observer sees it.",
    "engine_seen_at": "When the engine last answered.",
    "redis_run_id": "The run id of the Redis that the epoch was made on.",
}

_DEAD = {
    "dead_id": "The entry's id in the dead stream.",
    "entry": "The entry's id in the commands stream.",
    "id": "The command's id, where it was valid.",
    "kind": "Why it died.",
    "error": "The contract's word.",
    "detail": "A sentence.",
    "at": "When it died.",
    "attempts": "How often it had begun.",
    "body": "The entry's fields as a JSON object, as text.",
    "body_b64": "The same in base64, where it is not UTF-8.",
    "truncated": "Whether the body was cut at 16 KiB.",
    "history": "JSON list, as text, of this death and those before it.",
}

_EVENT = {
    "specversion": "Version of CloudEvents.",
    "id": "`<epoch>/<revision>`; of a heartbeat `<epoch>/<revision>/hb/<ms>`.",
    "source": "`/rooms/<room>`.",
    "type": "What happened.",
    "subject": "The service, the command's id, or the worker.",
    "time": "When the script that caused it ran.",
    "epoch": "The room's epoch.",
    "revision": "The event's revision, as text.",
    "datacontenttype": "What data is.",
    "data": "What the type says.",
}

#: Struct -> field -> sentence, for every field of every struct.
FIELDS: Mapping[str, Mapping[str, str]] = {
    "Command": _COMMAND,
    "Receipt": {name: text for name, text in _RECEIPT.items() if name != "v"},
    "Snapshot": _SNAPSHOT,
    "WorkerInfo": _WORKER,
    "EngineInfo": {
        "id": _META["engine_id"],
        "status": _META["engine_status"],
        "seen_at": _META["engine_seen_at"],
    },
    "Meta": _META,
    "DeadLetter": _DEAD,
    "Event": _EVENT,
    "Cause": {
        "kind": "A command, planned healing, or what was seen.",
        "command_id": "The command that did it.",
        "issuer": "Its issuer.",
        "reason": "Its reason.",
    },
    "ServiceData": {
        "service": "The whole snapshot; of `removed` the last one.",
        "changed": "The names of the fields that changed.",
        "previous_status": "The status before.",
        "cause": "Why.",
    },
    "CommandData": {"command": "The receipt."},
    "WorkerData": {"worker": "The worker."},
    "EngineData": {"engine": "The engine."},
    "HeartbeatData": {},
}
