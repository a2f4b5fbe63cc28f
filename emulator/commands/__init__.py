"""The commands of `hublet`, one module for each group. Start at `up.py`.

May import everything; nothing imports it but `emulator.cli`.
"""
