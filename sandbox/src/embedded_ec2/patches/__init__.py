"""Where moto differs from AWS in a way that shows, made right: a file for each service and thing."""
