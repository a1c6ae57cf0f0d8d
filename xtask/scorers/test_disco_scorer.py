"""Tests of disco_scorer.py: `python3 -m unittest discover xtask/scorers` from the repository's root."""

import json
import os
import subprocess
import sys
import tempfile
import textwrap
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))


def sample(text, context="Q:", **columns):
    return {"context": context, "text": text, "tokens": len(text), "finished": True, "columns": columns}


class Served(unittest.TestCase):
    """Each test runs a scorer as disco does: as a process, a line for a line."""

    def ask(self, scorer, *requests):
        """The answers to requests, each a tuple of features and samples; and what went to standard error."""
        lines = [json.dumps({"id": index, "features": features, "samples": samples}) for index, (features, samples) in enumerate(requests)]
        return self.exchange(scorer, "".join(line + "\n" for line in lines).encode())

    def exchange(self, scorer, lines):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "scorers.py")
            with open(path, "w", encoding="utf-8") as file:
                file.write("from disco_scorer import Skip, feature, serve\n" + textwrap.dedent(scorer))
            environment = {**os.environ, "PYTHONPATH": HERE}
            done = subprocess.run([sys.executable, path], input=lines, capture_output=True, env=environment, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        return answers, done.stderr.decode()

    def test_features_get_lists_and_give_numbers_truth_values_and_skips(self):
        scorer = """
            @feature
            def polite(texts, contexts, **columns):
                assert columns == {"job": ["baker", None], "tokens": [10, 2], "finished": [True, True]}, columns
                assert contexts == ["Q:", "Q:"]
                return ["please" in text for text in texts]

            @feature("length")
            def of_any_name(texts):
                return [None if len(text) > 5 else len(text) for text in texts]

            @feature(name="reason")
            def other(job):
                return [Skip("no job") if job is None else 0.5 for job in job]

            serve()
        """
        samples = [sample("please do!", job="baker"), sample("no")]
        answers, _ = self.ask(scorer, (["polite", "length", "reason"], samples), (["length"], samples), (["polite"], []))
        self.assertEqual(answers[0], {"id": 0, "values": [[True, None, 0.5], [False, 2.0, {"skip": "no job"}]]})
        self.assertEqual(answers[1], {"id": 1, "values": [[None], [2.0]]})
        self.assertEqual(answers[2], {"id": 2, "values": []})

    def test_functions_of_trls_signature_are_taken_unchanged(self):
        scorer = """
            def reward(prompts, completions, answer, **kwargs):
                assert prompts == ["1+1=", "1+2="] and "texts" not in kwargs
                return [1.0 if completion == right else -1.0 for completion, right in zip(completions, answer)]

            serve(reward)
        """
        samples = [sample("2", "1+1=", answer="2"), sample("4", "1+2=", answer="3")]
        # A single feature answers for any name.
        answers, _ = self.ask(scorer, (["correct"], samples))
        self.assertEqual(answers[0]["values"], [[1.0], [-1.0]])
        scorer = """
            async def reward(completions, **kwargs):
                assert kwargs["prompts"][0] == [{"role": "user", "content": "1+1="}]
                return [float(len(completion[0]["content"])) for completion in completions]

            serve(reward, messages=True)
        """
        answers, _ = self.ask(scorer, (["reward"], samples))
        self.assertEqual(answers[0]["values"], [[1.0], [1.0]])

    def test_what_a_feature_prints_and_starts_does_not_disturb_the_protocol(self):
        scorer = """
            import os, subprocess, sys

            @feature
            def noisy(texts):
                print("printed")
                os.write(1, b"written\\n")
                # It would read the next request if it had our standard input.
                assert subprocess.run(["cat"], check=True).returncode == 0
                assert sys.stdin.read() == ""
                return [1] * len(texts)

            serve()
        """
        answers, said = self.ask(scorer, (["noisy"], [sample("a")]), (["noisy"], [sample("b")]))
        self.assertEqual(answers, [{"id": 0, "values": [[1.0]]}, {"id": 1, "values": [[1.0]]}])
        self.assertEqual((said.count("printed"), said.count("written")), (2, 2))

    def test_errors_are_answers_and_the_next_request_is_answered(self):
        scorer = """
            @feature
            def inverse(texts):
                return [1 / len(text) for text in texts]

            @feature
            def wrong(texts):
                return [{"nan": float("nan"), "text": "0.5", "inf": "inf"}.get(text, 10 ** 400) for text in texts]

            @feature
            def short(texts):
                return []

            @feature
            def column(texts, job):
                return job

            serve()
        """
        answers, said = self.ask(
            scorer,
            (["inverse"], [sample("ab"), sample("")]),
            (["wrong"], [sample("nan")]),
            (["wrong"], [sample("text")]),
            (["wrong"], [sample("large")]),
            (["short"], [sample("a")]),
            (["column"], [sample("a", city="Rome")]),
            (["nothing"], [sample("a")]),
            (["inverse"], [sample("ab")]),
        )
        told = [answer.get("error") for answer in answers]
        self.assertRegex(told[0], r"^ZeroDivisionError: division by zero \(scorers\.py, line \d+, in ")
        self.assertIn("gave nan for sample 0; allowed: a finite number", told[1])
        self.assertIn("gave '0.5' for sample 0", told[2])
        self.assertIn("for sample 0; allowed", told[3])
        self.assertIn("gave 0 values for 1 texts", told[4])
        self.assertIn("takes 'job', which is no column of the contexts; there are: city", told[5])
        self.assertIn("no feature is named 'nothing'; there are: column, inverse, short, wrong", told[6])
        self.assertEqual(answers[7], {"id": 7, "values": [[0.5]]})
        self.assertIn("Traceback", said)

    def test_a_line_that_is_no_request_is_an_error(self):
        answers, _ = self.exchange("serve(len)", b"hello\n{}\n\xff\n")
        self.assertEqual([answer["id"] for answer in answers], [None] * 3)
        self.assertIn("JSONDecodeError", answers[0]["error"])
        self.assertTrue(answers[1]["error"].startswith("KeyError"))
        self.assertTrue(answers[2]["error"].startswith("UnicodeDecodeError"))

    def test_text_of_any_language_and_half_characters_pass(self):
        scorer = """
            @feature
            def same(texts):
                return [text == "Größe 猫 \\u2028 \\U0001f600" for text in texts]

            serve()
        """
        answers, _ = self.ask(scorer, (["same"], [sample("Größe 猫 \u2028 \U0001f600"), sample("\ud800")]))
        self.assertEqual(answers[0]["values"], [[True], [False]])

    def test_two_features_of_a_name_are_refused(self):
        with self.assertRaises(ValueError):
            sys.path.insert(0, HERE)
            from disco_scorer import feature

            feature(lambda texts: texts, name="one")
            feature(lambda texts: texts, name="one")


if __name__ == "__main__":
    unittest.main()
