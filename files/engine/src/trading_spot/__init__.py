"""The program `trading-spot`. It waits until AWS announces that it will take this Spot instance back.

AWS may interrupt a Spot instance at any time, but announces it two minutes before.
"""
