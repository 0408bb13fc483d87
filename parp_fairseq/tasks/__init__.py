"""The task ``parp``: options, and the hook that prunes after optimizer steps."""
