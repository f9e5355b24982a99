"""What the exercises compare answers with: lesson_01.py holds ex_1_1, ex_1_2, ... of lesson 01.

Each is a function of the learner's answer that returns `checks.check(...)`; the first line of its
docstring is its title in `checks.report()`. Notebooks call them as `checks.ex_1_1(answer)`.
`sentences.yml` holds what a check says: to any wrong answer, to a common mistake, to a right one.
"""
