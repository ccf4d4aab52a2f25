"""Encoders and decoders of the network protocols: OUCH, ITCH, SoupBinTCP and the PROXY header.

These modules use no sockets and keep no state of the engine.
"""
