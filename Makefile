# Every target is one command of `python -m naslora_core`, which works where there is no make.
PYTHON ?= python3
RUN = @$(PYTHON) -m naslora_core
export TORCH

.PHONY: help workbook class reset test test-fast notebooks tables lint clean
.NOTPARALLEL:

help:
	@echo "make workbook   run all lessons into build/workbook, with pages that open offline"
	@echo "                LESSON=02 one lesson   DATA=folder your images   PROFILE=smoke|laptop|gpu"
	@echo "make class      working copies of the lessons in my_notebooks/, outputs cleared"
	@echo "make reset LESSON=05   that copy from the beginning; the old one is backed up"
	@echo "make test       ruff and the tests      ARGS=... more words for pytest"
	@echo "make test-fast  the same without lessons and browser"
	@echo "make notebooks  execute changed lessons into notebooks/     LESSON=02 this one, changed or not"
	@echo "make tables     README tables and cost lines from recorded files"
	@echo "make lint       ruff's rules and format"
	@echo "make clean      remove what the above built; .venv, my_notebooks/, trained models stay"
	@echo "The first of them installs .venv. TORCH=cpu: PyTorch's CPU build. PYTHON=python3.12: that one."

workbook:
	$(RUN) workbook $(if $(LESSON),--lesson $(LESSON)) $(if $(DATA),--data "$(DATA)") $(if $(PROFILE),--profile $(PROFILE))

class reset:
	$(RUN) $@ $(if $(LESSON),--lesson $(LESSON))

test:
	$(RUN) test $(ARGS)

test-fast:
	$(RUN) test --fast $(ARGS)

notebooks:
	$(RUN) notebooks $(if $(LESSON),--lesson $(LESSON))

tables lint clean:
	$(RUN) $@
