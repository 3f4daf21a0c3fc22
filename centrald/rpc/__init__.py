"""The two gRPC listeners; grpc and the generated stubs appear nowhere else."""
