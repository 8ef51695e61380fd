"""Machines that lend themselves to a head: the messages between the two, and both ends of their
work; knows no HTTP (server/api/joined, server/cli/node).

    wire      the messages, each a line of JSON of bounded length
    facts     what a machine tells of itself, and where two differ
    node      one joined machine as its head knows it; nodes: all of them
    tasks     what a machine does when its head asks
"""
