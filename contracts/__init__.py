"""The words that producers, workers and readers of Pointsman share.

Nothing here knows a client library: structs, key names, codecs, errors, schemas and the loader of Lua
scripts. Import from the modules: `contracts.commands`, `contracts.receipts`, `contracts.services`,
`contracts.events`, `contracts.keys`, `contracts.codec`, `contracts.errors`, `contracts.times`,
`contracts.schema`, `contracts.scripts`.
"""

#: The version of the contract that this package speaks: field `v` of a command, `contract` of `meta`.
CONTRACT_VERSION = "1"
