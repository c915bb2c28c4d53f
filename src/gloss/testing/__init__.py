"""What the author of a backend imports: contract tests, doubles and a tiny model.

    generators      GeneratorContract, and ReplayGenerator, a generator without a model
    retrievers      RetrieverContract and EncoderContract
    catalogues      catalogues of a few titles
    tiny_model      a model folder with a random Llama of two layers (needs the extra "train")

A test class inherits a contract and gives its fixtures; pytest then runs the contract's tests:

    from gloss.testing.generators import GeneratorContract

    class TestMyGenerator(GeneratorContract):
        @pytest.fixture
        def generator(self): ...

        @pytest.fixture
        def prompts(self): ...

pytest shows the values of a failing assertion in a contract if the first lines of `conftest.py`,
before any import of these modules, are

    pytest.register_assert_rewrite("gloss.testing")

Contracts are plain classes: importing these modules does not import pytest.
"""
