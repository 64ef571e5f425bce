"""What is known of each protocol's fields, as plain data: one module a protocol, read by people and by `core.fields`.

A field belongs into `harmless` when the provider's documentation, or the SDK's, says that it leaves nothing behind and
depends on nothing kept there: what is asked twice is then two draws of one question. When in doubt leave it out: such a
call passes through untouched, counted with the field's name. docs/reference/fields.md is made from these tables.
"""
