"""The loops: one worker per Release, leader lease, config reload, notifier."""
