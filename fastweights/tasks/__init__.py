"""Tasks: what is asked. Frozen dataclasses that draw sequences from a generator, one task a file.

An import of a task is its registration: every command, its help and the tests know it by that.
"""

from fastweights.tasks.adding import Adding as Adding
from fastweights.tasks.answering import answers as answers
from fastweights.tasks.answering import answers_in_turn as answers_in_turn
from fastweights.tasks.associative_retrieval import AssociativeRetrieval as AssociativeRetrieval
from fastweights.tasks.catch import Catch as Catch
from fastweights.tasks.copy_pairs import CopyPairs as CopyPairs
from fastweights.tasks.copying import Copying as Copying
from fastweights.tasks.glimpses import Glimpses as Glimpses
from fastweights.tasks.gym import Gym as Gym
from fastweights.tasks.image_rows import ImageRows as ImageRows
from fastweights.tasks.induction_heads import InductionHeads as InductionHeads
from fastweights.tasks.modular_arithmetic import ModularArithmetic as ModularArithmetic
from fastweights.tasks.mqar import MQAR as MQAR
from fastweights.tasks.next_character import NextCharacter as NextCharacter
from fastweights.tasks.overwritten_keys import OverwrittenKeys as OverwrittenKeys
from fastweights.tasks.own_lines import OwnLines as OwnLines
from fastweights.tasks.own_pairs import OwnPairs as OwnPairs
from fastweights.tasks.parity import Parity as Parity
from fastweights.tasks.pronunciation import Pronunciation as Pronunciation
from fastweights.tasks.registry import describe as describe
from fastweights.tasks.registry import find_task as find_task
from fastweights.tasks.registry import make_task as make_task
from fastweights.tasks.registry import places as places
from fastweights.tasks.registry import registered
from fastweights.tasks.reverse import Reverse as Reverse
from fastweights.tasks.selective_copying import SelectiveCopying as SelectiveCopying
from fastweights.tasks.sort import Sort as Sort
from fastweights.tasks.stats import Stats as Stats
from fastweights.tasks.stats import add_up as add_up
from fastweights.tasks.tagging import Tagging as Tagging
from fastweights.tasks.task import NOTHING as NOTHING
from fastweights.tasks.task import BadSequence as BadSequence
from fastweights.tasks.task import Batch as Batch
from fastweights.tasks.task import Spec as Spec
from fastweights.tasks.task import Task as Task
from fastweights.tasks.task import better as better
from fastweights.tasks.task import has_text as has_text
from fastweights.tasks.told import task_told as task_told
from fastweights.tasks.word_problem import WordProblem as WordProblem

TASKS = registered(globals())  # by name
