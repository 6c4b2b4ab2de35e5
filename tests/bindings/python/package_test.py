"""The package is what its stubs, its docstrings and the README say."""

import ast
import inspect
import pathlib

import penstock

PACKAGE = pathlib.Path(penstock.__file__).parent
ROOT = pathlib.Path(__file__).parents[3]


def stub_classes():
    tree = ast.parse((PACKAGE / "__init__.pyi").read_text())
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}


def stub_members(node, classes):
    names = {each.name for each in node.body if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef))}
    names |= {each.targets[0].id for each in node.body if isinstance(each, ast.Assign)}
    names |= {each.target.id for each in node.body if isinstance(each, ast.AnnAssign)}
    for base in node.bases:
        if isinstance(base, ast.Name) and base.id in classes:
            names |= stub_members(classes[base.id], classes)
    return names


def public(names):
    return {name for name in names if not name.startswith("_")}


def protocols(names):
    return {name for name in names if name in {"__enter__", "__exit__", "__iter__", "__next__", "__aiter__",
                                               "__anext__", "__aenter__", "__aexit__"}}


def test_the_stubs_name_what_is_there_and_nothing_else():
    classes = stub_classes()
    assert (PACKAGE / "py.typed").exists()
    assert public(classes) == set(penstock.__all__)
    for name in public(classes):
        there = getattr(penstock, name)
        if name == "Errc":
            assert {each.name: each.value for each in there} == {
                each.targets[0].id: each.value.value for each in classes[name].body}
        elif issubclass(there, Exception):
            assert stub_members(classes[name], classes) == {"code", "message", "detail"}
        else:
            told = stub_members(classes[name], classes)
            assert public(told) == public(dir(there)), name
            assert protocols(told) == protocols(dir(there)), name


def test_stubs_and_options_agree(memory_bus):
    classes = stub_classes()
    for call, stub in [(lambda **o: memory_bus.create_topic("t", **o), "_TopicOptions"),
                       (lambda **o: memory_bus.producer("ticks", **o), "_ProducerOptions"),
                       (lambda **o: memory_bus.consumer("g", **o), "_ConsumerOptions"),
                       (lambda **o: memory_bus.reader("ticks", **o), "_ReaderOptions"),
                       (lambda **o: memory_bus.producer("ticks").publish(b"", **o), "_PublishOptions")]:
        try:
            call(nonsense=1)
            raise AssertionError("an unknown option was taken")
        except TypeError as refused:
            known = str(refused).partition("there are ")[2].split(", ")
        assert set(known) == stub_members(classes[stub], classes), stub


def test_everything_public_is_explained():
    for name in penstock.__all__:
        there = getattr(penstock, name)
        assert inspect.getdoc(there), name
        if name == "Errc" or issubclass(there, Exception):
            continue
        for member in public(dir(there)):
            assert inspect.getdoc(getattr(there, member)), f"{name}.{member}"


def test_the_example_in_the_readme_runs(directory):
    example = (ROOT / "README.md").read_text().partition("\n```python\n")[2].partition("\n```\n")[0]
    assert "/var/lib/shop" in example
    shipped = []
    with penstock.Bus(directory) as bus, penstock.Daemon(bus):
        exec(compile(example.replace("/var/lib/shop", directory), "README.md", "exec"),
             {"ship": lambda payload: shipped.append(bytes(payload))})
        assert shipped == [b"paid"]
        (where,) = bus.group_topics("fulfillment")
        assert (where.acked, where.lag) == (1, 0)
