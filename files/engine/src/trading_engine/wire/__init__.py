"""Encoders and decoders of the network protocols: OUCH, ITCH, SoupBinTCP and the PROXY header.

They use no sockets and keep no state of the engine.
"""
