"""What the exercises compare answers with: lesson_01.py holds ex_1_1, ex_1_2, ... of lesson 01.

Each stands under `checks.exercise`: its title in `checks.report()`, the reference, what of an
answer is looked at, the common mistakes; the function below draws a case. Notebooks call them with
the learner's answer, as `checks.ex_1_1(answer)`. `sentences.yml` holds what a check says: to any
wrong answer, to a common mistake, to a right one.
"""
