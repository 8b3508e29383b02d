"""What agentmon costs and gives, measured beside its peers on the same machine in the same run."""
