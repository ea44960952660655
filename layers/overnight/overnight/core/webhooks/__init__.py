"""Webhooks: signed deliveries from outside, each of which is verified, kept, and run once.

    raw bytes ─> verify ─> handshake? ─> payload ─> admit ─> 202
       │ schemes.py, keys.py                │          │ the gate: dedupe, rate, line
       └ the same 401 for whatever fails    └ 422      └ 200 duplicate, 409, 429

`receive.receive` is all of it. `schemes.sign` is the sender's side.
"""
