# SPDX-License-Identifier: MIT
"""Protocols without I/O: what comes on a wire goes into a Call, and what the party hears comes out.

A source has no sockets, clock or threads. Of a connection, whoever has them makes a source with
`open_call`, a function of the wire's id of the call and the audio's rate in Hz, which it calls
once; passes what arrives to `receive`; and calls `tick` every 20 ms for what to send. `end` says
that the connection is gone. Of RTP, each leg is fed with the packets of one direction.
"""
