"""Text as numbers: vocabularies, and tokenizers of characters, words and byte pairs.

>>> from pydl.text import Characters
>>> tokens = Characters.fit("to be, or not to be")
>>> tokens.decode(tokens.encode("not to be"))
'not to be'
"""

from pydl.text.byte_pairs import BytePairs
from pydl.text.tokenizers import Characters, Tokenizer, Words
from pydl.text.vocabulary import Vocabulary

__all__ = ["BytePairs", "Characters", "Tokenizer", "Vocabulary", "Words"]
