"""`python -m kullback`, and so `torchrun -m kullback`, is the command `kullback`."""

from kullback.cli import app

if __name__ == "__main__":
    app(prog_name="kullback")
