import socket

from deploy.local import ports


def test_all_ports_differ() -> None:
    names = [f"port {number}" for number in range(20)]
    chosen = ports.choose(names, {})
    assert list(chosen) == names
    assert len(set(chosen.values())) == len(names)


def test_the_wanted_port_is_taken_again_when_it_is_free() -> None:
    first = ports.choose(["a", "b"], {})
    assert ports.choose(["a", "b"], first) == first


def test_a_port_that_somebody_else_has_is_replaced() -> None:
    with socket.create_server((ports.HOST, 0)) as other:
        taken = other.getsockname()[1]
        assert ports.is_open(taken)
        assert ports.choose(["a"], {"a": taken})["a"] != taken
    assert not ports.is_open(taken)
